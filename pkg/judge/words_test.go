package judge

import "testing"

func TestSharesAreWrittenWithTheDigitsThatMatter(t *testing.T) {
	for p, want := range map[float64]string{
		0: "0%", 0.00012: "0.01%", 0.0012: "0.12%", 0.01: "1%", 0.052: "5.2%", 0.0999: "10%", 0.384: "38%", 1: "100%",
	} {
		if got := share(p); got != want {
			t.Errorf("%v is %s, want %s", p, got, want)
		}
	}
}
