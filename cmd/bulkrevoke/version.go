package main

import (
	"cmp"
	"runtime/debug"
)

// version is set by the linker for a release: -ldflags "-X main.version=1.2.3".
var version string

// programVersion returns the version, from the linker or from the build
// information.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(version, "unknown")
	}
	commit, at := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case "vcs.time":
			at = s.Value
		}
	}
	text := cmp.Or(version, info.Main.Version, "(devel)")
	if commit != "" {
		text += " (" + commit + ", " + at + ")"
	}
	return text
}
