package sum

import "testing"

func TestOf(t *testing.T) {
	t.Run("three numbers", func(t *testing.T) {
		if got := Of(1, 2, 3); got != 6 {
			t.Errorf("got %d", got)
		}
	})
}
