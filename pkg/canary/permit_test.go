package canary

import "testing"

func TestTheShareThatPodsCarry(t *testing.T) {
	for name, c := range map[string]struct {
		ready, base int
		factor      float64
		want        int
	}{
		"as much each as stable's":          {1, 4, 1, 25},
		"twice as much":                     {1, 4, 2, 50},
		"never more than all":               {4, 4, 2, 100},
		"rounded down":                      {1, 3, 1, 33},
		"without pods nothing":              {0, 4, 2, 0},
		"without a factor as much as comes": {1, 100, 0, 100},
		"of a release that noted no base":   {1, 0, 2, 100},
	} {
		if got := Carries(c.ready, c.base, c.factor); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestHowImagesMustBeNamed(t *testing.T) {
	const digest = "@sha256:0000000000000000000000000000000000000000000000000000000000000000"
	for _, c := range []struct {
		tags, reference string
		wrong           bool
	}{
		{TagsNamed, "shop/web:1.4.2", false},
		{TagsNamed, "shop/web", true},
		{TagsNamed, "registry.example.com:5000/shop/web", true},
		{TagsNamed, "registry.example.com:5000/shop/web:v1", false},
		{TagsNamed, "shop/web:latest", true},
		{TagsNamed, "shop/web:latest" + digest, false},
		{TagsNamed, "shop/web" + digest, false},
		{TagsSemVer, "shop/web:1.4.2", false},
		{TagsSemVer, "shop/web:v1.4.2-rc.1", false},
		{TagsSemVer, "shop/web:1.4", true},
		{TagsSemVer, "shop/web:01.4.2", true},
		{TagsSemVer, "shop/web" + digest, false},
		{TagsSemVer, "shop/web:latest" + digest, true},
		{TagsRegex + "main-[0-9a-f]{7}", "shop/web:main-0a1b2c3", false},
		{TagsRegex + "main-[0-9a-f]{7}", "shop/web:main-0a1b2c3d", true},
		{TagsRegex + "a|b", "shop/web:ab", true},
		{"", "shop/web", false},
	} {
		if got := CheckTag(c.tags, c.reference); (got != "") != c.wrong {
			t.Errorf("%s by %q: %q", c.reference, c.tags, got)
		}
	}
}
