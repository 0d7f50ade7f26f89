package promql

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// dashboard is the part of Grafana's format that is checked here.
type dashboard struct {
	UID, Title, Description string
	SchemaVersion           int
	Panels                  []*panel
	Templating              struct{ List []variable }
	Annotations             struct {
		List []struct {
			Name, TitleFormat string
			Target            struct{ Expr string }
			Datasource        source
		}
	}
}

type source struct{ Type, UID string }

type variable struct {
	Name, Label, Type, Definition string
	Datasource                    source
	Query                         any
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               source
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                source
	}
	FieldConfig struct{ Defaults struct{ Unit string } }
}

func readDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no dashboards (%v)", err)
	}
	all := map[string]dashboard{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[filepath.Base(f)] = d
	}
	return all
}

var (
	// units are those of Grafana's that are used here.
	units = []string{"short", "none", "percent", "percentunit", "reqps", "ops", "s"}
	used  = regexp.MustCompile(`\$\{?([a-zA-Z_]\w*)`)
	named = regexp.MustCompile(`\{\{(\w+)\}\}`)
	// values stand for what Grafana puts into a query.
	values = strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$namespace", "shop", "$service", "web", "$reporter", "source")
)

// inspection collects what is wrong with a dashboard.
type inspection struct {
	dashboard
	known map[string][]string
	out   []string
}

func (c *inspection) fault(format string, args ...any) {
	c.out = append(c.out, fmt.Sprintf(format, args...))
}

func faults(d dashboard, known map[string][]string) []string {
	c := &inspection{dashboard: d, known: known}
	if d.UID == "" || d.Title == "" || d.Description == "" || d.SchemaVersion < 39 {
		c.fault("it lacks an id, a title or a description, or is of a Grafana before 11")
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] {
			c.fault("%s: the id %d is given twice", p.Title, p.ID)
		}
		if p.Title == "" || titles[p.Title] {
			c.fault("the title %q is given twice", p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.Type != "row" {
			c.panel(p)
		}
	}
	c.places()
	c.variables()
	for _, a := range d.Annotations.List {
		c.query("annotations "+a.Name, a.Target.Expr, a.TitleFormat, a.Datasource)
	}
	return c.out
}

func (c *inspection) panel(p *panel) {
	if p.Description == "" {
		c.fault("%s: it is not described", p.Title)
	}
	if !slices.Contains(units, p.FieldConfig.Defaults.Unit) {
		c.fault("%s: its unit is %q", p.Title, p.FieldConfig.Defaults.Unit)
	}
	if len(p.Targets) == 0 {
		c.fault("%s: it asks nothing", p.Title)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if q.RefID == "" || refs[q.RefID] {
			c.fault("%s: two queries are called %q", p.Title, q.RefID)
		}
		refs[q.RefID] = true
		if q.LegendFormat == "" {
			c.fault("%s: a query has no legend", p.Title)
		}
		c.query(p.Title, q.Expr, q.LegendFormat, q.Datasource)
	}
}

// query checks one, and that its legend names labels that its answer has.
func (c *inspection) query(where, expr, legend string, from source) {
	if from.Type != "prometheus" || from.UID != "${datasource}" {
		c.fault("%s: it asks %v, and not the chosen Prometheus", where, from)
	}
	for _, m := range mistakes(values.Replace(expr), c.known) {
		c.fault("%s: %s", where, m)
	}
	for _, name := range named.FindAllStringSubmatch(legend, -1) {
		if !regexp.MustCompile(`by \(([^)]*, )?` + name[1] + `[,)]`).MatchString(expr) {
			c.fault("%s: its legend names %s, by which nothing is summed up", where, name[1])
		}
	}
}

// places checks that no panel covers another or stands outside.
func (c *inspection) places() {
	for i, p := range c.Panels {
		a := p.GridPos
		if a.W <= 0 || a.H <= 0 || a.X < 0 || a.Y < 0 || a.X+a.W > 24 {
			c.fault("%s: it stands outside", p.Title)
		}
		for _, q := range c.Panels[:i] {
			b := q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				c.fault("%s covers %s", p.Title, q.Title)
			}
		}
	}
}

// variables checks that each is defined, asks for what there is, and is used.
func (c *inspection) variables() {
	defined, uses := map[string]bool{}, map[string]bool{}
	note := func(text string) {
		for _, m := range used.FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(m[1], "__") {
				uses[m[1]] = true
			}
		}
	}
	for _, p := range c.Panels {
		note(p.Datasource.UID)
		for _, q := range p.Targets {
			note(q.Expr)
		}
	}
	for _, v := range c.Templating.List {
		defined[v.Name] = true
		note(v.Definition)
		if v.Label == "" {
			c.fault("variable %s has no label", v.Name)
		}
		inner, isQuery := strings.CutPrefix(v.Definition, "label_values(")
		switch {
		case v.Type == "datasource":
		case !isQuery:
			c.fault("variable %s asks %q", v.Name, v.Definition)
		default:
			series := inner[:strings.LastIndex(inner, ",")]
			for _, m := range mistakes(values.Replace(series), c.known) {
				c.fault("variable %s: %s", v.Name, m)
			}
		}
	}
	for name := range uses {
		if !defined[name] {
			c.fault("$%s is not defined", name)
		}
	}
	for name := range defined {
		if !uses[name] {
			c.fault("$%s is not used", name)
		}
	}
}

func TestDashboardsShowWhatThereIs(t *testing.T) {
	all := known(t)
	uids := map[string]bool{}
	for name, d := range readDashboards(t) {
		for _, f := range faults(d, all) {
			t.Errorf("%s: %s", name, f)
		}
		if uids[d.UID] {
			t.Errorf("%s: another dashboard is %q too", name, d.UID)
		}
		uids[d.UID] = true
	}
}

func TestAFaultOfADashboardIsFound(t *testing.T) {
	all := known(t)
	for want, spoil := range map[string]func(d *dashboard){
		"the id":                        func(d *dashboard) { d.Panels[2].ID = d.Panels[1].ID },
		"the title":                     func(d *dashboard) { d.Panels[2].Title = d.Panels[1].Title },
		"is not described":              func(d *dashboard) { d.Panels[1].Description = "" },
		"its unit":                      func(d *dashboard) { d.Panels[1].FieldConfig.Defaults.Unit = "" },
		"has no legend":                 func(d *dashboard) { d.Panels[1].Targets[0].LegendFormat = "" },
		"parse error":                   func(d *dashboard) { d.Panels[1].Targets[0].Expr = "max(" },
		"there is no metric":            func(d *dashboard) { d.Panels[1].Targets[0].Expr = "serin_rollout_fase" },
		"has no label":                  func(d *dashboard) { d.Panels[1].Targets[0].Expr = `serin_rollout_phase{pase="Idle"}` },
		"by which nothing is summed up": func(d *dashboard) { d.Panels[1].Targets[0].LegendFormat = "{{reason}}" },
		"covers":                        func(d *dashboard) { d.Panels[2].GridPos = d.Panels[1].GridPos },
		"stands outside":                func(d *dashboard) { d.Panels[1].GridPos.X = 23 },
		"is not defined":                func(d *dashboard) { d.Panels[1].Targets[0].Expr = `serin_rollout_phase{phase="$other"}` },
		"is not used": func(d *dashboard) {
			d.Templating.List = append(d.Templating.List, variable{Name: "more", Label: "More", Definition: "label_values(serin_leading, pod)"})
		},
		"not the chosen Prometheus": func(d *dashboard) { d.Panels[1].Targets[0].Datasource.UID = "abc" },
		"before 11":                 func(d *dashboard) { d.SchemaVersion = 36 },
		"asks nothing":              func(d *dashboard) { d.Panels[1].Targets = nil },
	} {
		d := readDashboards(t)["serin-rollout.json"]
		spoil(&d)
		if got := strings.Join(faults(d, all), "; "); !strings.Contains(got, want) {
			t.Errorf("got %q, want that something %s", got, want)
		}
	}
}

// Grafana's sidecar finds the dashboards by the label of their ConfigMap.
func TestTheSidecarFindsAllDashboards(t *testing.T) {
	text, err := os.ReadFile("../../deploy/grafana/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		ConfigMapGenerator []struct{ Files []string }
		GeneratorOptions   struct{ Labels map[string]string }
	}
	if err := yaml.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, g := range k.ConfigMapGenerator {
		for _, f := range g.Files {
			listed = append(listed, filepath.Base(f))
		}
	}
	for name := range readDashboards(t) {
		if !slices.Contains(listed, name) {
			t.Errorf("%s is in no ConfigMap", name)
		}
	}
	if k.GeneratorOptions.Labels["grafana_dashboard"] != "1" {
		t.Errorf("the labels are %v", k.GeneratorOptions.Labels)
	}
}
