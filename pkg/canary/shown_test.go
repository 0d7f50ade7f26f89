package canary

import "testing"

func TestImagesAreShownBriefly(t *testing.T) {
	const digest = "sha256:9f2b6c1d0e4a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c"
	for _, c := range []struct {
		name string
		i    Image
		want string
	}{
		{"by tag, with the digest that pods report", Image{Reference: "shop/web:1.4.2", Digest: digest}, "shop/web:1.4.2, 9f2b6c1d0e4a"},
		{"before any pod is ready", Image{Reference: "shop/web:1.4.2"}, "shop/web:1.4.2"},
		{"by digest alone", Image{Reference: "shop/web@" + digest}, "shop/web, 9f2b6c1d0e4a"},
		{"with a version that the tag doesn't say", Image{Reference: "shop/web:main", Version: "1.4.2"}, "shop/web:main, version 1.4.2"},
		{"with one that it does", Image{Reference: "shop/web:v1.4.2", Version: "1.4.2"}, "shop/web:v1.4.2"},
		{"from a registry with a port", Image{Reference: "r:5000/web"}, "web"},
		{"from a registry with a name", Image{Reference: "registry.example.com/shop/web:1"}, "shop/web:1"},
		{"with a revision of git", Image{Reference: "web:1", Revision: "0123456789abcdef0123456789abcdef01234567"}, "web:1, revision 0123456789ab"},
		{"with another revision", Image{Reference: "web:1", Revision: "r4711"}, "web:1, revision r4711"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.i.Words(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWhatIsAwaitedHasAName(t *testing.T) {
	v := View{Path: []StepView{{Mirror: 10}, {Weight: 5}}}
	for want, a := range map[string]Awaited{
		"approval of the start":               {Kind: AwaitApproval},
		"approval of step 1 (mirror 10%)":     {Kind: AwaitApproval, Step: 1},
		"approval of step 2 (5%)":             {Kind: AwaitApproval, Step: 2},
		"approval of step 3":                  {Kind: AwaitApproval, Step: 3},
		"the gate hours":                      {Kind: string(AskGate), Name: "hours"},
		"the smoke checks":                    {Kind: string(AskSmoke)},
		"Alertmanager":                        {Kind: string(AskAlerts)},
		"the Service's endpoints":             {Kind: string(AskEndpoints)},
		"stable's series":                     {Kind: string(AskSeries)},
		"what a newer version of it asks for": {Kind: "what a newer version of it asks for"},
	} {
		if got := v.AwaitedWords(a); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhatIsAwaitedIsSaidOnce(t *testing.T) {
	v := View{Path: []StepView{{Weight: 5}}, Sentence: "Release hours begin on Mon; and 1 thing more"}
	for _, c := range []struct {
		name, want string
		a          Awaited
	}{
		{"a plain approval has no more to say", "", Awaited{Kind: AwaitApproval, Step: 1, Sentence: "Step 1 (5%) waits for approval: kubectl canary approve web"}},
		{"one that a gate asks for says why", "2 high vulnerabilities. It goes on", Awaited{Kind: AwaitApproval, Step: 1, Sentence: "2 high vulnerabilities. It goes on"}},
		{"what is said above is not said again", "", Awaited{Kind: string(AskGate), Name: "hours", Sentence: "Release hours begin on Mon"}},
		{"what is not, is", "The scan is not finished", Awaited{Kind: string(AskGate), Name: "scan", Sentence: "The scan is not finished"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := v.AwaitedWhy(c.a); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWhatIsLeftIsSaid(t *testing.T) {
	for want, v := range map[string]View{
		"": {},
		"web-v1 still gets 0.42 requests/s, though no route leads to it: it must not be scaled down yet": {Residual: 0.421, ResidualOf: "web-v1"},
		"web-v1 still gets 1234 requests/s, though no route leads to it: it must not be scaled down yet": {Residual: 1234, ResidualOf: "web-v1"},
		"web-v1 still gets 0.01 requests/s, though no route leads to it: it must not be scaled down yet": {Residual: 0.00001, ResidualOf: "web-v1"},
		"web-v1 gets no requests any more: it may be scaled down or removed":                             {Removable: "web-v1"},
	} {
		if got := v.LeftWords(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
