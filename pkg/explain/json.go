package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"serin.dev/serin/pkg/judge"
)

// jsonVersion is the version of the JSON's form. Fields may be added without a
// new one; a new one is for readers who would misread it.
const jsonVersion = 1

// The shape of the JSON. Times are UTC, durations seconds, shares 0 to 1,
// latencies milliseconds, evidence natural logarithms of odds.
type (
	jsonStory struct {
		Version   int          `json:"version"`
		Namespace string       `json:"namespace"`
		Service   string       `json:"service"`
		Rollout   string       `json:"rollout"`
		Phase     string       `json:"phase"`
		Observed  bool         `json:"observed"` // people set the weights
		Reason    string       `json:"reason"`
		Message   string       `json:"message"`
		Stable    string       `json:"stable"` // Deployment
		Canary    string       `json:"canary"` // Deployment
		Started   time.Time    `json:"started"`
		Ended     *time.Time   `json:"ended"` // null while under way
		Asked     time.Time    `json:"asked"`
		Step      int          `json:"step,omitempty"` // the only one shown
		Steps     []jsonStep   `json:"steps"`
		Mode      string       `json:"mode"`
		Limits    jsonLimits   `json:"limits"`
		Baseline  jsonBaseline `json:"baseline"`
		Fell      *jsonMoment  `json:"fell"` // when the verdict fell; null if it did not
		Moments   []jsonMoment `json:"moments"`
		Blocks    []jsonBlock  `json:"blocks"`
		Complete  bool         `json:"complete"` // no data is missing
		Gaps      []jsonGap    `json:"gaps"`     // stretches of time without data
		Unknown   []string     `json:"unknown"`
		Warnings  []string     `json:"warnings"`
	}
	jsonGap struct {
		From time.Time `json:"from"`
		To   time.Time `json:"to"`
		Step int       `json:"step"`
		Why  string    `json:"why"`
	}
	jsonStep struct {
		Weight int     `json:"weight"` // percent
		Mirror int     `json:"mirror,omitempty"`
		Bake   float64 `json:"bake"`
	}
	jsonLimits struct {
		ErrorRate  float64      `json:"errorRate"`
		ErrorRatio float64      `json:"errorRatio,omitempty"`
		P99        float64      `json:"p99"`
		P99Ratio   float64      `json:"p99Ratio,omitempty"`
		Metrics    []jsonCustom `json:"metrics"`
	}
	jsonCustom struct {
		Name    string  `json:"name"`
		AtLeast bool    `json:"atLeast"` // else at most
		Bound   float64 `json:"bound"`
		Gauge   bool    `json:"gauge"`
	}
	jsonBaseline struct {
		Known    bool         `json:"known"`
		Requests int64        `json:"requests"`
		Errors   int64        `json:"errors"`
		P99      [2]*float64  `json:"p99"`
		Over     []jsonExcess `json:"over"` // the limits stable itself breaks
	}
	jsonExcess struct {
		Metric  string `json:"metric"`
		Limit   string `json:"limit"`
		Seen    string `json:"seen"`
		Suggest string `json:"suggest"`
		Written bool   `json:"written"`
	}
	jsonMoment struct {
		At       time.Time `json:"at"`
		Step     int       `json:"step"`
		Weight   int       `json:"weight"`
		Mirror   int       `json:"mirror,omitempty"` // percent of which the canary was sent a copy
		Kind     string    `json:"kind"`
		Reason   string    `json:"reason"`
		Sentence string    `json:"sentence"`
	}
	jsonBlock struct {
		Start   time.Time   `json:"start"`
		End     time.Time   `json:"end"`
		Step    int         `json:"step"`
		Weight  int         `json:"weight"`
		Mirror  int         `json:"mirror,omitempty"`
		Missing string      `json:"missing,omitempty"`
		Stable  jsonSample  `json:"stable"`
		Canary  jsonSample  `json:"canary"`
		Verdict jsonVerdict `json:"verdict"`
	}
	jsonSample struct {
		Live         bool         `json:"live"`
		Seen         *time.Time   `json:"seen,omitempty"`
		Requests     int64        `json:"requests"`
		Errors       int64        `json:"errors"`
		ClientErrors int64        `json:"clientErrors"`
		Disconnects  int64        `json:"disconnects"`
		Latency      []jsonBucket `json:"latency,omitempty"`
	}
	jsonBucket struct {
		Le    string `json:"le"` // as in Prometheus: milliseconds, "+Inf"
		Count int64  `json:"count"`
	}
	jsonVerdict struct {
		Kind       string       `json:"kind"`
		Reason     string       `json:"reason"`
		Sentence   string       `json:"sentence"`
		Covered    float64      `json:"covered"`
		More       int64        `json:"more,omitempty"`
		MoreTime   float64      `json:"moreTime,omitempty"`
		Against    *float64     `json:"against"`
		For        *float64     `json:"for"`
		RollbackAt float64      `json:"rollbackAt"`
		PromoteAt  float64      `json:"promoteAt"`
		Open       bool         `json:"open,omitempty"`
		Metrics    []jsonMetric `json:"metrics,omitempty"`
	}
	jsonMetric struct {
		Name    string      `json:"name"`
		Limit   float64     `json:"limit"`
		Canary  judge.Tally `json:"canary"`
		Stable  judge.Tally `json:"stable"`
		Low     *float64    `json:"low"`
		High    *float64    `json:"high"`
		Against *float64    `json:"against"`
		For     *float64    `json:"for"`
		Judged  bool        `json:"judged"`
		Missing string      `json:"missing,omitempty"`
	}
)

// JSON writes the story for programs, block by block.
func (s Story) JSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(s.shape()); err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	return nil
}

func (s Story) shape() jsonStory {
	st := s.State
	j := jsonStory{
		Version: jsonVersion, Namespace: s.Namespace, Service: s.Service, Rollout: st.Rollout,
		Phase: string(st.Phase), Observed: s.Observed(), Reason: string(st.Reason), Message: st.Message,
		Stable: st.Stable.Deployment, Canary: st.Canary.Deployment,
		Started: st.Started.UTC(), Ended: instant(s.Ended), Asked: s.Asked.UTC(), Step: s.Step,
		Mode: string(s.Settings.Mode), Limits: s.limitsShape(), Baseline: s.baselineShape(),
		Steps: []jsonStep{}, Moments: []jsonMoment{}, Blocks: []jsonBlock{}, Gaps: []jsonGap{},
		Complete: !s.Partial, Unknown: orNone(s.Unknown), Warnings: orNone(s.Warnings),
	}
	for _, step := range st.Spec.Steps {
		j.Steps = append(j.Steps, jsonStep{step.Weight, step.Mirror, step.Bake.Seconds()})
	}
	for _, g := range s.Gaps {
		j.Gaps = append(j.Gaps, jsonGap{g.From.UTC(), g.To.UTC(), g.Step, g.Why})
	}
	shown := s.Shown()
	if l, ok := Fell(shown); ok {
		fell := momentShape(l)
		j.Fell = &fell
	}
	for _, l := range Turns(shown) {
		j.Moments = append(j.Moments, momentShape(l))
	}
	for _, l := range shown {
		j.Blocks = append(j.Blocks, blockShape(l))
	}
	return j
}

func (s Story) limitsShape() jsonLimits {
	l := s.Settings.Limits
	out := jsonLimits{ErrorRate: l.ErrorRate, ErrorRatio: l.ErrorRatio, P99: inMilliseconds(l.P99), P99Ratio: l.P99Ratio, Metrics: []jsonCustom{}}
	for _, c := range s.Settings.Custom {
		out.Metrics = append(out.Metrics, jsonCustom(c))
	}
	return out
}

func (s Story) baselineShape() jsonBaseline {
	b := s.Baseline
	out := jsonBaseline{
		Known: b.Known, Requests: b.Stable.Requests, Errors: b.Stable.Errors,
		P99: [2]*float64{finite(b.Stable.P99[0]), finite(b.Stable.P99[1])}, Over: []jsonExcess{},
	}
	for _, e := range b.Over {
		out.Over = append(out.Over, jsonExcess(e))
	}
	return out
}

func momentShape(l Look) jsonMoment {
	v := l.Verdict
	return jsonMoment{At: l.Block.End().UTC(), Step: l.Block.Step, Weight: l.Block.Weight, Mirror: l.Block.Mirror, Kind: string(v.Kind), Reason: string(v.Reason), Sentence: v.Sentence}
}

func blockShape(l Look) jsonBlock {
	b, v := l.Block, l.Verdict
	out := jsonBlock{
		Start: b.Start.UTC(), End: b.End().UTC(), Step: b.Step, Weight: b.Weight, Mirror: b.Mirror, Missing: b.Missing,
		Stable: sampleShape(b.Stable), Canary: sampleShape(b.Canary),
		Verdict: jsonVerdict{
			Kind: string(v.Kind), Reason: string(v.Reason), Sentence: v.Sentence, Covered: v.Covered.Seconds(),
			More: v.More, MoreTime: v.MoreTime.Seconds(), Open: v.Open,
			Against: finite(v.Against), For: finite(v.For), RollbackAt: v.RollbackAt, PromoteAt: v.PromoteAt,
		},
	}
	for _, m := range v.Metrics {
		out.Verdict.Metrics = append(out.Verdict.Metrics, jsonMetric{
			Name: m.Name, Limit: m.Limit, Canary: m.Canary, Stable: m.Stable,
			Low: finite(m.Low), High: finite(m.High), Against: finite(m.Against), For: finite(m.For), Judged: m.Judged, Missing: m.Missing,
		})
	}
	return out
}

func sampleShape(s judge.Sample) jsonSample {
	out := jsonSample{
		Live: s.Live, Seen: instant(s.Seen), Requests: s.Requests, Errors: s.Errors, ClientErrors: s.ClientErrors, Disconnects: s.Disconnects,
	}
	for _, b := range s.Latency {
		le := "+Inf"
		if !math.IsInf(b.Le, 1) {
			le = strconv.FormatFloat(b.Le, 'f', -1, 64)
		}
		out.Latency = append(out.Latency, jsonBucket{le, b.Count})
	}
	return out
}

// finite is a number, or nothing where JSON has none for it.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
