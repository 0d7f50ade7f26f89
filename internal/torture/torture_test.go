package torture

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// cleanRuns plays every scenario undisturbed.
func cleanRuns(t *testing.T) map[string]record {
	t.Helper()
	var mu sync.Mutex
	out := map[string]record{}
	var cases []Case
	for _, s := range scenarios {
		cases = append(cases, Case{Scenario: s.name})
	}
	play(t, cases, nil, func(c Case, r record) {
		mu.Lock()
		defer mu.Unlock()
		out[c.Scenario] = r
		for _, wrong := range r.Wrong {
			t.Errorf("%s, undisturbed: %s", c.Scenario, wrong)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return out
}

// play runs cases on all cores, and shows what each came to.
func play(t *testing.T, cases []Case, clean map[string]record, show func(Case, record)) {
	t.Helper()
	next := make(chan Case)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for c := range next {
				show(c, run(t, c, clean[c.Scenario]))
			}
		})
	}
	for _, c := range cases {
		next <- c
	}
	close(next)
	wg.Wait()
}

// singles are all faults at all writes of all scenarios.
func singles(clean map[string]record) (all []Case) {
	for _, s := range scenarios {
		for k := 1; k <= clean[s.name].Tried; k++ {
			for _, f := range faults {
				if !f.two || s.replicas > 1 {
					all = append(all, Case{Scenario: s.name, Faults: []injection{{k, f}}})
				}
			}
		}
	}
	return all
}

// twos are pairs of faults, by chance.
func twos(n int, seed uint64, clean map[string]record) (all []Case) {
	dice := rand.New(rand.NewPCG(seed, 2))
	for len(all) < n {
		s := scenarios[dice.IntN(len(scenarios))]
		a, b := faults[dice.IntN(len(faults))], faults[dice.IntN(len(faults))]
		if (a.two || b.two) && s.replicas < 2 {
			continue
		}
		first := 1 + dice.IntN(clean[s.name].Tried)
		second := first + 1 + dice.IntN(max(1, clean[s.name].Tried-first+2))
		all = append(all, Case{Scenario: s.name, Faults: []injection{{first, a}, {second, b}}, Seed: dice.Uint64() >> 32})
	}
	return all
}

// tally counts runs by scenario and fault, and keeps what went wrong.
type tally struct {
	mu     sync.Mutex
	began  time.Time
	total  int // cases of the plan
	before int // of them left out
	runs   int
	told   time.Time
	count  map[string]map[string][2]int // by scenario and fault: runs, violations
	wrong  []string
}

func (y *tally) add(c Case, r record) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.runs++
	for _, f := range c.Faults {
		row := y.count[c.Scenario]
		if row == nil {
			row = map[string][2]int{}
			y.count[c.Scenario] = row
		}
		n := row[f.fault.name]
		n[0]++
		if len(r.Wrong) > 0 {
			n[1]++
		}
		row[f.fault.name] = n
	}
	if len(r.Wrong) > 0 {
		report := fmt.Sprintf("%s\n\t%s\n\treplay: go test ./internal/torture -run TestReplay -args -replay %q", c, strings.ReplaceAll(strings.Join(r.Wrong, "\n"), "\n", "\n\t"), c)
		y.wrong = append(y.wrong, report)
		fmt.Fprintln(os.Stderr, report)
	}
	if time.Since(y.told) >= 10*time.Second {
		y.told = time.Now()
		fmt.Fprintf(os.Stderr, "%s: %d of %d runs, %d with a violation\n", time.Since(y.began).Round(time.Second), y.before+y.runs, y.total, len(y.wrong))
	}
}

// table shows the runs of each scenario and fault, and those with a violation.
func (y *tally) table(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 1, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "runs (violations)\t")
	for _, s := range scenarios {
		fmt.Fprintf(w, "%s\t", s.name)
	}
	fmt.Fprintln(w)
	for _, f := range faults {
		fmt.Fprintf(w, "%s\t", f.name)
		for _, s := range scenarios {
			n := y.count[s.name][f.name]
			fmt.Fprintf(w, "%d", n[0])
			if n[1] > 0 {
				fmt.Fprintf(w, " (%d)", n[1])
			}
			fmt.Fprint(w, "\t")
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
	fmt.Fprintf(to, "%d runs in %s, %d with a violation\n", y.runs, time.Since(y.began).Round(time.Second), len(y.wrong))
}

func TestTorture(t *testing.T) {
	clean := cleanRuns(t)
	var cases []Case
	switch {
	case *pairsOf > 0:
		cases = twos(*pairsOf, *seed, clean)
	case *all:
		cases = singles(clean)
	default:
		cases = spread(singles(clean), *part, *seed)
	}
	matches := regexp.MustCompile(*only)
	cases = slices.DeleteFunc(cases, func(c Case) bool { return !matches.MatchString(c.String()) })
	planned := len(cases)
	if *from < 0 || *from > planned {
		t.Fatalf("-from is %d: the plan has %d cases", *from, planned)
	}
	fmt.Fprintf(os.Stderr, "plan %s of %d cases\n", fingerprint(cases), planned)
	cases = cases[*from:]
	y := &tally{began: time.Now(), told: time.Now(), before: *from, total: planned, count: map[string]map[string][2]int{}}
	play(t, cases, clean, y.add)
	y.table(os.Stderr)
	for _, wrong := range y.wrong {
		t.Error(wrong)
	}
}

// fingerprint tells plans apart: who goes on with one has to have the same.
func fingerprint(cases []Case) string {
	h := fnv.New64a()
	for _, c := range cases {
		_, _ = io.WriteString(h, c.String()+"\n")
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// spread are n of the cases by chance. Crashes before and after every write come
// first where there is room for all of them.
func spread(cases []Case, n int, seed uint64) []Case {
	dice := rand.New(rand.NewPCG(seed, 3))
	dice.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	crashes := func(c Case) bool {
		return c.Faults[0].fault.name == "crash-before" || c.Faults[0].fault.name == "crash-after"
	}
	if some := slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return !crashes(c) }); len(some) < n/2 {
		slices.SortStableFunc(cases, func(a, b Case) int { return cmp.Compare(rank(crashes(a)), rank(crashes(b))) })
	}
	return cases[:min(n, len(cases))]
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// regressions are the cases that found a mistake once.
var regressions = map[string]string{
	"a clock that was ahead when a step was written held the release for as long":   "pair-pause/5/clock-behind",
	"likewise the subsets of a release in place":                                    "inplace-promotion/4/clock-behind",
	"an answer of no use to the first question of all held a release for good":      "pair-promotion/1/metrics-nan",
	"the first user came though nobody could judge the canary any more":             "inplace-promotion/1/metrics-unscraped",
	"a canary that waited for its pods got users on a verdict of long ago":          "inplace-late-breach/10/metrics-unreachable",
	"a release after one that went back without data took blindness for no traffic": "pair-superseded/4/metrics-empty",
	"likewise in place": "inplace-superseded/14/metrics-empty",
	"a release that was opted out by its process's last write was in no history":      "pair-opted-out/6/crash-after",
	"likewise one of a Deployment that was deleted":                                   "inplace-deleted/12/crash-after",
	"a step that was written to one VirtualService before an outage is over after it": "inplace-scaled/9/outage-40s",
	"old data passed for fresh when Prometheus told no more how often it scrapes":     "inplace-two-routes/1/metrics-unscraped+5/frozen#2090218388",
	"samples that were shown and are gone passed for a Service without traffic":       "inplace-two-routes-breach/6/metrics-empty+7/outage-40s#420551192",
	"a Prometheus that never showed anything passed for a Service without traffic":    "pair-promotion/1/metrics-empty+2/outage-40s#2114780786",
	"half of a step, left by an outage, was completed when nobody could judge":        "inplace-scaled/9/metrics-truncated+10/outage-40s#1333978928",
	"likewise when Prometheus answered with an error":                                 "inplace-opted-out/11/metrics-unavailable-503+12/outage-40s#1807006978",
	"while the informers stood still the end of a release was written over and over":  "leaders-inplace-breach/15/watch-collapsed",
}

func TestWhatWasWrongOnce(t *testing.T) {
	for name, text := range regressions {
		t.Run(name, func(t *testing.T) {
			c, err := parseCase(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, wrong := range run(t, c, run(t, Case{Scenario: c.Scenario}, record{})).Wrong {
				t.Error(wrong)
			}
		})
	}
}

func TestAPlanIsThatOfItsSeed(t *testing.T) {
	clean := map[string]record{}
	for i, s := range scenarios {
		clean[s.name] = record{Tried: 5 + i}
	}
	plan := fingerprint(twos(500, 6, clean))
	if again := fingerprint(twos(500, 6, clean)); again != plan {
		t.Errorf("the plan was %s and is %s", plan, again)
	}
	if other := fingerprint(twos(500, 7, clean)); other == plan {
		t.Error("another seed gives the same plan")
	}
}

func TestACaseIsReadAsItIsWritten(t *testing.T) {
	for _, text := range []string{"pair-promotion", "inplace-retry/7/crash-after", "leaders-pair-breach/3/two-leaders+9/watch-gone#17"} {
		if c, err := parseCase(text); err != nil || c.String() != text {
			t.Errorf("%q is read as %q (%v)", text, c, err)
		}
	}
	for text, want := range map[string]string{
		"nowhere/1/lost": "no scenario", "pair-promotion/x/lost": "no write and fault", "pair-promotion/1/nothing": "no write and fault", "pair-promotion/1/lost#x": "the seed",
	} {
		if _, err := parseCase(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, want %q", text, err, want)
		}
	}
}

func TestReplay(t *testing.T) {
	if *replay == "" {
		t.Skip("no case is named by -replay")
	}
	c, err := parseCase(*replay)
	if err != nil {
		t.Fatal(err)
	}
	clean := run(t, Case{Scenario: c.Scenario}, record{})
	*verbose = true
	r := run(t, c, clean)
	for _, wrong := range r.Wrong {
		t.Error(wrong)
	}
	t.Logf("%d writes tried, %d done (without a fault %d), took %s (%s)\n%s", r.Tried, r.Writes, clean.Writes, r.Took, clean.Took, r.End)
}
