package judge

import (
	"math"
	"testing"
	"time"
)

func TestSharesAreWrittenWithTheDigitsThatMatter(t *testing.T) {
	for p, want := range map[float64]string{
		0: "0%", 1e-7: "0.00001%", 1.2e-5: "0.001%", 0.00012: "0.01%", 0.0012: "0.12%", 0.01: "1%", 0.052: "5.2%", 0.0999: "10%", 0.384: "38%", 0.974: "97.4%", 0.999: "99.9%", 0.9995: "99.95%", 1: "100%",
	} {
		if got := share(p); got != want {
			t.Errorf("%v is %s, want %s", p, got, want)
		}
	}
}

func TestOddsAreWrittenAsPeopleSayThem(t *testing.T) {
	for e, want := range map[float64]string{
		0.01: "less than 0.1 to 1", 0.5: "0.5 to 1", 1: "1 to 1", 9.94: "9.9 to 1", 9.96: "10 to 1", 99.6: "100 to 1", 341: "340 to 1", 123456: "120000 to 1", 2e6: "more than a million to 1",
	} {
		if got := oddsOf(math.Log(e)); got != want {
			t.Errorf("%v is %s, want %s", e, got, want)
		}
	}
}

func TestTimesAreWrittenAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "1 second", 40 * time.Second: "40 seconds", 2 * time.Minute: "2 minutes", 100 * time.Minute: "2 hours", 72 * time.Hour: "3 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("roughly %s is %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		500 * time.Millisecond: "500ms", 2 * time.Second: "2s", time.Minute: "1m", time.Hour: "1h", 90 * time.Second: "1m30s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%d is %s, want %s", d, got, want)
		}
	}
}
