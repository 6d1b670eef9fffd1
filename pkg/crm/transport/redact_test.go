package transport

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	const key = "u$r/a b+c?d=<é>\"q\"&~"
	r := NewRedactor(NewSecret(key), NewSecret(""), NewSecret("other-secret"))
	quoted, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ text, want string }{
		"plain":           {"key " + key + "!", "key [redacted]!"},
		"query":           {"?accessKey=" + url.QueryEscape(key) + "&x=1", "?accessKey=[redacted]&x=1"},
		"query lower":     {"?k=" + strings.ToLower("%24") + url.QueryEscape("x"), "?k=%24x"},
		"path":            {"/" + url.PathEscape(key) + "/", "/[redacted]/"},
		"base64":          {base64.StdEncoding.EncodeToString([]byte(key)), "[redacted]"},
		"base64 bare":     {base64.RawStdEncoding.EncodeToString([]byte(key)) + ".", "[redacted]."},
		"base64 url":      {base64.URLEncoding.EncodeToString([]byte(key)), "[redacted]"},
		"base64 url bare": {base64.RawURLEncoding.EncodeToString([]byte(key)) + ".", "[redacted]."},
		"base64 inside 1": {base64.StdEncoding.EncodeToString([]byte("x" + key + "xx")), "eH[redacted]nh4"},
		"base64 inside 2": {base64.StdEncoding.EncodeToString([]byte("ab" + key + "c")), "YWJ[redacted]5j"},
		"hex":             {hex.EncodeToString([]byte(key)), "[redacted]"},
		"hex upper":       {strings.ToUpper(hex.EncodeToString([]byte(key))), "[redacted]"},
		"json":            {`{"k":` + string(quoted) + `}`, `{"k":"[redacted]"}`},
		"json, bare":      {`u$r/a b+c?d=<é>\"q\"&~`, "[redacted]"},
		"json, slashes":   {`u$r\/a b+c?d=<é>\"q\"&~`, "[redacted]"},
		"json, .NET":      {`u$r/a b\u002Bc?d=\u003Cé\u003E\u0022q\u0022\u0026~`, "[redacted]"},
		"both":            {key + "other-secret" + key, "[redacted][redacted][redacted]"},
		"nothing":         {"MXInvalidInputException: 'leadId' is mandatory", "MXInvalidInputException: 'leadId' is mandatory"},
		"empty":           {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := r.String(tt.text); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
	if got := (*Redactor)(nil).String("as it is"); got != "as it is" {
		t.Errorf("a nil redactor made %q", got)
	}
	if got := NewRedactor().String("as it is"); got != "as it is" {
		t.Errorf("a redactor without secrets made %q", got)
	}
}

func TestRedactLowerCaseEscapes(t *testing.T) {
	t.Parallel()
	r := NewRedactor(NewSecret("a/b+c=d"))
	for _, text := range []string{"a%2fb%2bc%3dd", "a%2Fb%2Bc%3Dd", "a%2Fb+c=d", "a%2fb+c=d"} {
		if got := r.String(text); got != redacted {
			t.Errorf("%q became %q, want %q", text, got, redacted)
		}
	}
}

func TestRedactPrefersTheLongerSecret(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][]Secret{
		{NewSecret("secret"), NewSecret("secret-and-more")},
		{NewSecret("secret-and-more"), NewSecret("secret")},
	} {
		if got, want := NewRedactor(secrets...).String("secret-and-more secret"), "[redacted] [redacted]"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestRedactorLearnsConcurrently(t *testing.T) {
	t.Parallel()
	r := NewRedactor()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			secret := "token-" + strings.Repeat(string(rune('a'+i)), 5)
			for range 20 {
				r.Add(NewSecret(secret))
				if got := r.String("x" + secret); got != "x[redacted]" {
					t.Errorf("got %q after the secret was added", got)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzRedact(f *testing.F) {
	f.Add("u$r3b-sesame", "invalid key ", " for this host")
	f.Add("a/b+c=d", "https://h/?k=", "&x=1")
	f.Add("e", "", "")
	f.Add("\"quoted\\", "{\"m\":\"", "\"}")
	f.Add("é<&>\u2028", "", "tail")
	f.Add("redacted", "[", "]")
	f.Add("\xff\xfe", "a", "b")
	f.Add("%41", "%", "%41")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if secret == "" || strings.Contains(redacted, secret) {
			return
		}
		r := NewRedactor(NewSecret(secret))
		for _, form := range secretForms(secret) {
			got := r.String(before + form + after)
			if !strings.Contains(got, redacted) {
				t.Fatalf("nothing was redacted of %q with the secret %q as %q: %q", before+form+after, secret, form, got)
			}
			// What is left of the texts around it is theirs; a secret that appears where two
			// pieces meet the marker was not in the text.
			for _, piece := range strings.Split(got, redacted) {
				if strings.Contains(piece, secret) {
					t.Fatalf("%q still holds the secret %q", got, secret)
				}
			}
		}
		if got := r.String(""); got != "" {
			t.Fatalf("nothing became %q", got)
		}
	})
}
