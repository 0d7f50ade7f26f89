package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// worthAnAlert are those that such a release is worth. All others are about what must
// not happen here, and have to stay silent.
var worthAnAlert = map[string]bool{"SerinRolledBack": true}

// asked is one query of a panel, of an annotation, of a variable or of a rule.
type asked struct {
	where, expr string
	alert       bool
	lasts       time.Duration // how long an alert has to last before it is told
}

// monitored plays a release that is promoted, and taken back afterwards, with the
// controller scraped as in a cluster; then everything that dashboards and rules ask
// for is asked for over the time that it took.
func monitored(t *testing.T, name string) {
	began := time.Now()
	st := open(t, name, script{jumps: true})
	if err := st.controller.Scrape(); err != nil {
		t.Fatal(err)
	}
	st.until("Prometheus scrapes the controller", func() error {
		n, err := st.points(`serin_leading == 1`, began)
		if err == nil && n == 0 {
			err = fmt.Errorf("it has no sample")
		}
		return err
	})
	st.release("50%/2s, 100%/2s", nil)
	st.reachesPhase("Succeeded")
	st.command("rollback #1")
	st.rolledBack("RolledBackByCommand", "RollbackVerified")
	st.until("Prometheus knows of the end", func() error {
		n, err := st.points(fmt.Sprintf(`serin_rollout_phase{namespace=%q, phase="RolledBack"} == 1`, name), began)
		if err == nil && n < 3 {
			err = fmt.Errorf("%d samples say so", n)
		}
		return err
	})
	values := strings.NewReplacer("$__rate_interval", "10s", "$__range", "5m", "$namespace", name, "$service", "web", "$reporter", "source")
	for _, q := range append(askedByDashboards(t), askedByRules(t)...) {
		n, err := st.points(values.Replace(q.expr), began)
		fires := time.Duration(n)*time.Second > q.lasts
		switch {
		case err != nil:
			t.Errorf("%s: %v", q.where, err)
		case q.alert && fires != worthAnAlert[q.where]:
			t.Errorf("alert %s is true for %d s in a release that went well and was taken back by command", q.where, n)
		case !q.alert && n == 0:
			t.Errorf("%s: no data: %s", q.where, values.Replace(q.expr))
		}
	}
	st.close("v1", "v1")
}

// points counts the numbers that a query gives from a time until now, second by
// second. What is no number is none.
func (st *stage) points(expr string, from time.Time) (n int, err error) {
	ctx, cancel := context.WithTimeout(st.Context(), 10*time.Second)
	defer cancel()
	form := url.Values{
		"query": {expr}, "step": {"1"},
		"start": {fmt.Sprint(from.Unix())}, "end": {fmt.Sprint(time.Now().Unix())},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, st.box.PrometheusURL()+"/api/v1/query_range", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Values [][2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s: %s", answer.Error, expr)
	}
	for _, series := range answer.Data.Result {
		for _, v := range series.Values {
			if v[1] != "NaN" {
				n++
			}
		}
	}
	return n, nil
}

// askedByDashboards are the queries of all panels and annotations.
func askedByDashboards(t *testing.T) (all []asked) {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no dashboards (%v)", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
			Annotations struct {
				List []struct {
					Name   string
					Target struct{ Expr string }
				}
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for i, q := range p.Targets {
				all = append(all, asked{where: fmt.Sprint(p.Title, " ", i+1), expr: q.Expr})
			}
		}
		for _, a := range d.Annotations.List {
			all = append(all, asked{where: "annotations " + a.Name, expr: a.Target.Expr})
		}
	}
	return all
}

// askedByRules are the queries of what is recorded and of the alerts.
func askedByRules(t *testing.T) (all []asked) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Alert, Expr, For string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			q := asked{where: r.Record + r.Alert, expr: r.Expr, alert: r.Alert != ""}
			if r.For != "" {
				if q.lasts, err = time.ParseDuration(r.For); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, q)
		}
	}
	return all
}
