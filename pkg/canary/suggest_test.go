package canary

import "testing"

func TestSuggest(t *testing.T) {
	keys := []string{"canary", "steps", "bake", "step-deadline", "max-error-rate", "virtual-service", "v1", "v2"}
	for name, c := range map[string]struct{ given, want string }{
		"a letter left out is found":         {"step", "steps"},
		"two letters swapped are one slip":   {"setps", "steps"},
		"another case is no difference":      {"Bake", "bake"},
		"several slips in a long name":       {"max-err-rate", "max-error-rate"},
		"an exact name is itself":            {"v2", "v2"},
		"of two as near the first is taken":  {"v3", "v1"},
		"a wholly other name is no name":     {"timeout", ""},
		"an empty name suggests nothing":     {"", ""},
		"a short name needs to be very near": {"foo", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Suggest(c.given, keys); got != c.want {
				t.Errorf("Suggest(%q) = %q, want %q", c.given, got, c.want)
			}
		})
	}
}
