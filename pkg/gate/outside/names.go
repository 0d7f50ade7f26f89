package outside

import "regexp"

// The grammar of images' names, as registries have it (OCI Distribution Specification
// 1.1). A name written otherwise is no image's, and could lead to something else under
// a registry's address.
var (
	repository = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tag        = regexp.MustCompile(`^\w[\w.-]{0,127}$`)
	digest     = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// IsRepository reports whether it is the name of a repository, without a host.
func IsRepository(name string) bool { return len(name) <= 255 && repository.MatchString(name) }

// IsTag reports whether it is a tag.
func IsTag(name string) bool { return tag.MatchString(name) }

// IsDigest reports whether it is a SHA-256 digest.
func IsDigest(name string) bool { return digest.MatchString(name) }
