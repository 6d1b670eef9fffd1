package transport

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const text = "u$r3b-sesame"
	s := NewSecret(text)
	in := struct {
		Key     Secret
		Pointer *Secret
		Map     map[string]Secret
		hidden  Secret
		Any     any
	}{s, &s, map[string]Secret{"k": s}, s, s}

	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T:%v", "%10.3s"} {
		args := []any{s}
		if strings.HasPrefix(verb, "%T") {
			args = append(args, s)
		}
		printed = append(printed, fmt.Sprintf(verb, args...), fmt.Sprintf(strings.ReplaceAll(verb, "%T:", ""), in))
	}
	printed = append(printed, fmt.Sprint(&s), fmt.Sprintln(in), fmt.Errorf("key %v: %w", s, errors.New("x")).Error())
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "s", s, "in", in, "p", &s)
	}
	printed = append(printed, out.String())
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		b, err := marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		printed = append(printed, string(b))
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	printed = append(printed, string(b))

	for _, p := range printed {
		for _, form := range secretForms(text) {
			if strings.Contains(p, form) {
				t.Errorf("%q gives the secret away", p)
			}
		}
	}
	if got := fmt.Sprintf("%v", s); got != redacted {
		t.Errorf("got %q, want %q", got, redacted)
	}
	if s.Reveal() != text || s.IsZero() || !NewSecret("").IsZero() {
		t.Error("a secret does not hold its text")
	}
}
