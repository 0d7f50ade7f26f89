package ask

import (
	"testing"

	"serin.dev/serin/pkg/canary"
)

// What an image says of itself never changes, but its digest may not be known yet.
func TestImagesAreAskedForUntilTheyAreKnown(t *testing.T) {
	q := canary.Question{Kind: canary.AskImages}
	for said, want := range map[canary.AnswerKind]bool{canary.Allow: true, canary.Wait: false} {
		if _, final := pause(q, canary.Answer{Said: said}, 0); final != want {
			t.Errorf("%s is final: %t", said, final)
		}
	}
}
