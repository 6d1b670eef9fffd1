package sheet

import "testing"

func TestDateCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"General": false, "0": false, "00000": false, "#,##0.00": false, "0.00E+00": false, "@": false, "": false,
		`#,##0" days"`: false, `0\d`: false, `_d0`: false, `* 0`: false, "[Red]0": false, `0"m`: false, "[$USD] 0": false,
		"yyyy-mm-dd": true, "D.M.YYYY": true, "hh:mm": true, "[h]:00": true, "[ss]": true, `[$-409]d"."mmm`: true, "mm:ss.0": true,
	} {
		if got := codeLook(code) != plain; got != want {
			t.Errorf("codeLook(%q): got %t, want %t", code, got, want)
		}
	}
}
