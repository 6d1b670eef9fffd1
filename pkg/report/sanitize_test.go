package report

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"plain text is left alone", "No such user", "No such user"},
		{"other scripts are left alone", "Benutzer für Größe 用户", "Benutzer für Größe 用户"},
		{"line breaks become spaces", "one\r\ntwo\u2028three\u0085four", "one  two three four"},
		{"escape sequences lose their escape", "\x1b[2Jgone", "\uFFFD[2Jgone"},
		{"the 8-bit escape too", "\u009b2Jgone", "\uFFFD2Jgone"},
		{"bidirectional overrides", "abc\u202Ecba\u2066x\u2069", "abc\uFFFDcba\uFFFDx\uFFFD"},
		{"zero-width and byte order marks", "a\u200bb\ufeffc", "a\uFFFDb\uFFFDc"},
		{"broken bytes", "a\xffb", "a\uFFFDb"},
		{"NUL and bell", "a\x00\ab", "a\uFFFD\uFFFDb"},
		{"tag characters", "a\U000E0041b", "a\uFFFDb"},
		{"a formula is text on a terminal", "=1+1", "=1+1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, Printable(tc.in)); diff != "" {
				t.Errorf("Printable(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func TestPrintableCutsLongTexts(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"a", "é", "\n"} {
		got := []rune(Printable(strings.Repeat(unit, 5000)))
		if len(got) != maxText || got[maxText-1] != '…' {
			t.Errorf("5000 times %q became %d characters ending in %q, want %d ending in an ellipsis", unit, len(got), got[len(got)-1], maxText)
		}
	}
}

func TestInert(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"equals", "=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"},
		{"plus", "+1", "'+1"},
		{"minus", "-1", "'-1"},
		{"at", "@SUM(1)", "'@SUM(1)"},
		{"after spaces", "  =1", "  '=1"},
		{"after a tab", "\t=1", " '=1"},
		{"after a carriage return", "\r=1", " '=1"},
		{"after a non-breaking space", "\u00a0=1", "\u00a0'=1"},
		{"after something invisible", "\u200b=1", "\uFFFD'=1"},
		{"after a quote", "\"=1", "\"'=1"},
		{"full-width", "＝1", "'＝1"},
		{"in a cell that another delimiter would make", "x;=1", "x;'=1"},
		{"with a comma", "x, @y", "x, '@y"},
		{"in the middle of a word", "a=b-c@d.example", "a=b-c@d.example"},
		{"nothing", "", ""},
		{"an id", "4c224152d0e74190b29038397e3d93af", "4c224152d0e74190b29038397e3d93af"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, inert(tc.in)); diff != "" {
				t.Errorf("inert(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

// FuzzSanitize checks what must hold whatever a CRM says: no control character, no
// cell that starts a formula whichever delimiter a spreadsheet takes, bounded
// length, and nothing more to do the second time.
func FuzzSanitize(f *testing.F) {
	for _, seed := range []string{"", "=1+1", "\t=1", "a;=1", "\x1b]0;x\a", "\u202e", "x\r\n=1", "＝1", "\"=1", "\xff=1", strings.Repeat("é", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		shown, cell := Printable(in), inert(in)
		if again := Printable(shown); again != shown {
			t.Errorf("Printable is not stable on %q: %q, then %q", in, shown, again)
		}
		for _, s := range []string{shown, cell} {
			if !utf8.ValidString(s) {
				t.Errorf("%q became invalid UTF-8: %q", in, s)
			}
			if i := strings.IndexFunc(s, func(r rune) bool {
				return unicode.IsControl(r) || unicode.In(r, unicode.Cf) || r == '\u2028' || r == '\u2029'
			}); i >= 0 {
				t.Errorf("%q became %q, with a control character at %d", in, s, i)
			}
		}
		if n := utf8.RuneCountInString(shown); n > maxText {
			t.Errorf("%d characters are shown, at most %d are wanted", n, maxText)
		}
		for _, piece := range strings.FieldsFunc(cell, func(r rune) bool { return r == ',' || r == ';' || r == '|' }) {
			piece = strings.TrimLeftFunc(piece, func(r rune) bool { return unicode.IsSpace(r) || r == '"' || r == replaced })
			if r, _ := utf8.DecodeRuneInString(piece); starts(r) {
				t.Errorf("%q became %q, of which %q would be run", in, cell, piece)
			}
		}
	})
}
