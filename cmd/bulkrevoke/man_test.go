package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The man pages are made from the commands, the same wherever they are made; no program that
// is released has the command for it.
func TestManPages(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulkrevoke")
	build := exec.Command("go", "build", "-tags", "manpages", "-o", path, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pages := func(zone string) map[string]string {
		dir := t.TempDir()
		cmd := exec.Command(path, "man", dir)
		cmd.Env = append(os.Environ(), "TZ="+zone, "SOURCE_DATE_EPOCH=1798761599") // the last second of 2026
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return folder(t, dir)
	}
	here, there := pages("UTC"), pages("Asia/Kolkata")
	for _, name := range commandNames(newApp(nil, nil, nil, nil).rootCommand()) {
		page := here["bulkrevoke-"+name+".1"]
		if page == "" || page != there["bulkrevoke-"+name+".1"] || !strings.Contains(page, `"Dec 2026"`) {
			t.Errorf("the page of %s has %d bytes here and %d there", name, len(page), len(there["bulkrevoke-"+name+".1"]))
		}
	}
	if page := here["bulkrevoke-run.1"]; !strings.Contains(page, "--stop-after-failures") && !strings.Contains(page, `\-\-stop\-after\-failures`) || strings.Contains(page, "Auto generated") {
		t.Errorf("the page of run:\n%s", page)
	}
	released, err := program()
	must(t, err)
	if out, err := exec.Command(released, "man", t.TempDir()).CombinedOutput(); err == nil || !strings.Contains(string(out), "unknown command") {
		t.Errorf("a release makes man pages too: %s", out)
	}
}
