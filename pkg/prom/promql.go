package prom

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Istio's names.
const (
	requestsMetric = "istio_requests_total"
	latencyMetric  = "istio_request_duration_milliseconds_bucket"

	labelReporter  = "reporter"
	labelNamespace = "destination_workload_namespace"
	labelWorkload  = "destination_workload"
	labelService   = "destination_service"
	labelJob       = "job"
	labelInstance  = "instance"
	labelPod       = "pod"
	labelCode      = "response_code"
	labelFlags     = "response_flags"
	labelGRPC      = "grpc_response_status"
	labelBound     = "le"

	// unknownWorkload is what Istio writes where no host was chosen.
	unknownWorkload = "unknown"
)

// sourceOnly are the response flags of failures that no server's proxy sees:
// timeout of the route (UT), connection failure (UF, of mTLS as well), no healthy
// host (UH), overflow (UO), no cluster (NC), and retries exhausted (URX) beside
// another flag, which says what became of the last attempt. URX alone is the
// server's own failure after the last retry: its proxy counted it already, as
// it did each attempt before.
const sourceOnly = `(.*,)?(UT|UF|UH|UO|NC)(,.*)?|.+,URX(,.*)?|URX,.+`

var (
	byTarget  = []string{labelNamespace, labelWorkload, labelJob, labelInstance, labelPod}
	byAnswer  = append(slices.Clone(byTarget), labelCode, labelGRPC)
	byFailure = append(slices.Clone(byAnswer), labelFlags)
	byBound   = []string{labelNamespace, labelWorkload, labelBound}
	byService = []string{labelService, labelJob, labelInstance, labelPod, labelCode, labelGRPC, labelFlags}
)

// selector selects the series of a metric.
type selector struct {
	metric   string
	matchers []string
}

func (s selector) String() string { return s.metric + "{" + strings.Join(s.matchers, ", ") + "}" }

// counters are the raw counters, summed where nothing has to be told apart.
func (s selector) counters(by []string) string {
	return fmt.Sprintf("sum by (%s) (%s)", strings.Join(by, ", "), s)
}

// either are the raw counters of all series that one of the selectors selects,
// each once.
func either(by []string, all ...selector) string {
	var texts []string
	for _, s := range all {
		texts = append(texts, s.String())
	}
	return fmt.Sprintf("sum by (%s) (%s)", strings.Join(by, ", "), strings.Join(texts, " or "))
}

// carried are the counters as they were last seen within the window.
func (s selector) carried(by []string, window time.Duration) string {
	return fmt.Sprintf("sum by (%s) (last_over_time(%s[%s]))", strings.Join(by, ", "), s, duration(window))
}

// samples counts the scrapes within the window. Unlike the series itself it
// neither shows old values nor heeds markers that are written back-dated.
func (s selector) samples(by []string, window time.Duration) string {
	return fmt.Sprintf("max by (%s) (count_over_time(%s[%s]))", strings.Join(by, ", "), s, duration(window))
}

// stamps asks for the times of the newest samples. The time of an aggregate
// would be that of the question; hence the samples' own, within it.
func (s selector) stamps(by []string) string {
	return fmt.Sprintf("max by (%s) (timestamp(%s))", strings.Join(by, ", "), s)
}

// equal, matches and differs make matchers. All values anybody else chose pass through
// oneOf, the one escaper: regexp.QuoteMeta makes a value stand for itself, and
// strconv.QuoteToASCII writes what PromQL, whose strings are Go's, reads back: its
// parser refuses U+FFFD as it stands.
func equal(label, value string) string { return label + "=" + strconv.QuoteToASCII(value) }

func matches(label, pattern string) string { return label + "=~" + strconv.QuoteToASCII(pattern) }

func differs(label, pattern string) string { return label + "!~" + strconv.QuoteToASCII(pattern) }

func oneOf(label string, values []string) string { return matches(label, alternatives(values)) }

// alternatives is a pattern of each of the values and nothing else.
func alternatives(values []string) string {
	values = slices.Clone(values)
	slices.Sort(values)
	values = slices.Compact(values)
	for i, v := range values {
		values[i] = regexp.QuoteMeta(v)
	}
	return strings.Join(values, "|")
}

func duration(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }
