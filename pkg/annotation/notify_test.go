package annotation_test

import (
	"slices"
	"strings"
	"testing"

	"serin.dev/serin/pkg/annotation"
)

// parseWith is with these channels, of which the first is the operator's default.
func parseWith(channels []string, values map[string]string) (annotation.Parsed, error) {
	v := annotation.Vocabulary{Defaults: annotation.Defaults(), Channels: channels}
	if len(channels) > 0 {
		v.Defaults.Notify = channels[:1]
	}
	return annotation.Parse(prefixed(values), v)
}

func TestWhoIsTold(t *testing.T) {
	channels := []string{"ops", "team-shop", "team-blog"}
	for name, c := range map[string]struct {
		values map[string]string
		want   []string
	}{
		"nothing written: the operator's default": {map[string]string{"canary": "true"}, []string{"ops"}},
		"the team's own instead":                  {map[string]string{"notify": "team-shop"}, []string{"team-shop"}},
		"several":                                 {map[string]string{"notify": " team-shop ,ops"}, []string{"team-shop", "ops"}},
		"nobody":                                  {map[string]string{"notify": "none"}, nil},
		"the team too, of a mistake in another key": {map[string]string{"notify": "team-shop", "steps": "5"}, []string{"team-shop"}},
		"the default, of a mistake in this one":     {map[string]string{"notify": "team-shoop"}, []string{"ops"}},
	} {
		t.Run(name, func(t *testing.T) {
			if p, _ := parseWith(channels, c.values); !slices.Equal(p.Spec.Notify, c.want) {
				t.Errorf("told on %q, want %q", p.Spec.Notify, c.want)
			}
		})
	}
}

func TestChannelsThatNobodyDefined(t *testing.T) {
	for name, c := range map[string]struct {
		channels []string
		value    string
		want     string
	}{
		"all that are known are named":    {[]string{"ops", "team-shop"}, "team-shoop", `serin.dev/notify: "team-shoop" names the channel "team-shoop", which is not defined; known are ops, team-shop; others have to be defined in the configuration of Serin first`},
		"none is defined":                 {[]string{}, "ops", `names the channel "ops", which is not defined; there is none: define it under notify.channels`},
		"which there are isn't known":     {nil, "ops", ""},
		"a URL is no channel":             {nil, "https://chat.example/hook", `has "https://chat.example/hook", which is no name of a channel; write names of channels, comma-separated`},
		"twice":                           {nil, "ops, ops", `has "ops" twice; write each name once`},
		"nobody and somebody":             {nil, "none, ops", `has "none" beside others; write it alone, or take it away`},
		"an empty name":                   {nil, "ops,", `has "", which is no name of a channel`},
		"more than anybody wants to read": {nil, "a,b,c,d,e,f,g,h,i", `has 9 channels, at most 8 are allowed`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseWith(c.channels, map[string]string{"notify": c.value})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func FuzzNotify(f *testing.F) { fuzz(f, "notify", "ops", "none", ",", "a,a", "none,none") }
