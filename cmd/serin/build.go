package main

import (
	"runtime/debug"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

// build is what was built.
type build struct{ version, revision, goVersion string }

func (b build) String() string {
	if b.revision == "" {
		return b.version + " (" + b.goVersion + ")"
	}
	return b.version + " (" + b.revision + ", " + b.goVersion + ")"
}

// thisBuild is this program: the version the build was told, or else what Go
// itself knows about the sources.
func thisBuild() build {
	b := build{version: version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.goVersion = info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.revision = s.Value[:min(12, len(s.Value))]
		}
	}
	if b.version == "" {
		b.version = info.Main.Version
	}
	return b
}
