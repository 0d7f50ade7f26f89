package use

import (
	"testing"

	"tiny/sum"
)

func TestTwice(t *testing.T) {
	if got := sum.Twice(2); got != 4 {
		t.Errorf("got %d", got)
	}
}
