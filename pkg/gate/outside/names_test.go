package outside_test

import (
	"strings"
	"testing"

	"serin.dev/serin/pkg/gate/outside"
)

func TestNamesOfImages(t *testing.T) {
	for name, is := range map[string]bool{
		"web": true, "shop/web": true, "a/b/c-d__e.f": true, "0/1": true,
		"": false, "..": false, "../web": false, "a/../b": false, "a//b": false, "/a": false, "a/": false, "A": false, "a%2e": false, "a?b": false, "a b": false, "a\n": false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if outside.IsRepository(name) != is {
			t.Errorf("%q is a repository: %t", name, !is)
		}
	}
	for name, is := range map[string]bool{"v1.2": true, "_": true, "": false, ".": false, "..": false, "-a": false, "a/b": false, "a\n": false, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false} {
		if outside.IsTag(name) != is {
			t.Errorf("%q is a tag: %t", name, !is)
		}
	}
	for name, is := range map[string]bool{"sha256:" + strings.Repeat("a", 64): true, "sha256:" + strings.Repeat("A", 64): false, "sha256:aa": false, "md5:" + strings.Repeat("a", 64): false, "": false} {
		if outside.IsDigest(name) != is {
			t.Errorf("%q is a digest: %t", name, !is)
		}
	}
}
