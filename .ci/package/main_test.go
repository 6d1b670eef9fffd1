package main

import (
	"os/exec"
	"strings"
	"testing"
)

// Each version comes before the next, for dpkg and for rpm. Both must be there: the
// checks of everything install them.
func TestPackageVersion(t *testing.T) {
	versions := []struct{ version, want string }{
		{"nightly", "0~nightly"},
		{"v0.0.0-20261122101500-0123456789ab", "0.0.0~20261122101500.0123456789ab"},
		{"v0.0.0-20261122101501-0023456789ab", "0.0.0~20261122101501.0023456789ab"},
		{"v1.2.0", "1.2.0"},
		{"v1.2.1-0.20261122101500-0123456789ab", "1.2.1~~0.20261122101500.0123456789ab"},
		{"v1.2.1-rc.1", "1.2.1~rc.1"},
		{"v1.2.1-rc.1.0.20261122101500-0123456789ab", "1.2.1~rc.1.0.20261122101500.0123456789ab"},
		{"v1.2.1-rc.2", "1.2.1~rc.2"},
		{"v1.2.1-rc.10", "1.2.1~rc.10"},
		{"1.2.1", "1.2.1"},
		{"v1.2.1+more-of.it", "1.2.1+more.of.it"},
		{"v1.10.0", "1.10.0"},
	}
	last := ""
	for _, v := range versions {
		got := packageVersion(v.version)
		if got != v.want {
			t.Errorf("%s became %s, want %s", v.version, got, v.want)
		}
		if last == "" {
			last = got
			continue
		}
		if out, err := exec.Command("dpkg", "--compare-versions", last, "lt", got).CombinedOutput(); err != nil {
			t.Errorf("dpkg: %s does not come before %s: %v %s", last, got, err, out)
		}
		out, err := exec.Command("rpm", "--eval", `%{lua:print(rpm.vercmp("`+last+`", "`+got+`"))}`).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "-1" {
			t.Errorf("rpm: %s does not come before %s: %v %s", last, got, err, out)
		}
		last = got
	}
}
