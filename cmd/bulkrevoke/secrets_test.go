package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
		must(t, os.Chmod(path, mode))
		return path
	}
	const hidden = "s3cret-value"
	for _, tc := range []struct {
		name, ref string
		want      string // the secret
		refused   string // part of the refusal
		warned    string // part of the warning
		unix      bool   // file modes matter
	}{
		{name: "environment", ref: "env:KEY", want: hidden},
		{name: "line end in the environment", ref: "env:LINE", want: hidden},
		{name: "unset variable", ref: "env:NONE", refused: "NONE is not set"},
		{name: "empty variable", ref: "env:EMPTY", refused: "EMPTY is not set"},
		{name: "file", ref: "file:" + file("good", hidden+"\n", 0o600), want: hidden},
		{name: "file from Windows", ref: "file:" + file("crlf", hidden+"\r\n", 0o600), want: hidden},
		{name: "file that is one line less", ref: "file:" + file("two", hidden+"\n\n", 0o600), want: hidden + "\n"},
		{name: "file that others may read", ref: "file:" + file("read", hidden, 0o644), want: hidden, warned: "others may read", unix: true},
		{name: "credential of systemd's", ref: "file:" + file("credentials/key", hidden, 0o440), want: hidden},
		{name: "file beneath the credentials", ref: "file:" + file("credentials/other/key", hidden, 0o440), want: hidden, warned: "others may read", unix: true},
		{name: "credential that the group may write", ref: "file:" + file("credentials/group", hidden, 0o460), refused: "others may write", unix: true},
		{name: "file that the group may write", ref: "file:" + file("group", hidden, 0o660), refused: "others may write", unix: true},
		{name: "file that all may write", ref: "file:" + file("all", hidden, 0o602), refused: "others may write", unix: true},
		{name: "empty file", ref: "file:" + file("empty", "\n", 0o600), refused: "is empty"},
		{name: "huge file", ref: "file:" + file("huge", strings.Repeat("x", maxSecret+1), 0o600), refused: "too large"},
		{name: "folder", ref: "file:" + dir, refused: "not a regular file"},
		{name: "no such file", ref: "file:" + filepath.Join(dir, "none"), refused: "no such file"},
		{name: "the secret itself", ref: hidden, refused: "must not stand in the configuration"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.unix && runtime.GOOS == "windows" {
				return
			}
			var warned string
			src := secretSource{
				lookup: environment(map[string]string{"KEY": hidden, "LINE": hidden + "\n", "EMPTY": "", "CREDENTIALS_DIRECTORY": filepath.Join(dir, "credentials") + "/"}),
				warn:   func(m string) { warned += m },
			}
			got, err := src.read("access_key", tc.ref)
			if tc.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refused) {
					t.Fatalf("error is %v, want one with %q", err, tc.refused)
				}
				if strings.Contains(err.Error()+hintFor(err), hidden) {
					t.Errorf("the refusal shows the secret: %v", err)
				}
				return
			}
			if err != nil || got.Reveal() != tc.want {
				t.Errorf("secret is %q, error %v; want %q", got.Reveal(), err, tc.want)
			}
			if (tc.warned == "") != (warned == "") || !strings.Contains(warned, tc.warned) || strings.Contains(warned, hidden) {
				t.Errorf("warned %q, want something with %q", warned, tc.warned)
			}
		})
	}
}
