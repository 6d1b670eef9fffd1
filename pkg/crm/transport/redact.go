package transport

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Redactor replaces secrets in texts that come from outside: server messages,
// errors. It finds a secret as it is, escaped for a URL or for JSON, and in base64
// (of itself, or of a text that it stands in) and hex. It is safe for concurrent use, and learns secrets as they arrive. A nil
// Redactor changes nothing.
type Redactor struct {
	mu    sync.RWMutex // guards forms, which is replaced and never changed
	forms []string     // longest first, each once
}

// NewRedactor returns a redactor that knows the given secrets.
func NewRedactor(secrets ...Secret) *Redactor {
	r := &Redactor{}
	for _, s := range secrets {
		r.Add(s)
	}
	return r
}

// Add teaches the redactor one more secret. An empty one is ignored; a short one is
// not, whatever else it then hides.
func (r *Redactor) Add(s Secret) {
	if s.IsZero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	forms := append(secretForms(s.Reveal()), r.forms...)
	slices.SortFunc(forms, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	r.forms = slices.Clone(slices.Compact(forms))
}

// String returns s with every known secret replaced by "[redacted]".
func (r *Redactor) String(s string) string {
	if r == nil {
		return s
	}
	r.mu.RLock()
	forms := r.forms
	r.mu.RUnlock()
	if !slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(s, form) }) {
		return s
	}
	// There is rarely something to replace: no account keeps a replacer for it, which is
	// larger than the forms.
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, redacted)
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// Clean returns a text of the CRM without secrets, and bounded: it is kept for every row
// of a call.
func (r *Redactor) Clean(s string) string {
	const most = 2048
	if s = r.String(s); len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// escape matches a percent escape, of which both cases mean the same.
var escape = regexp.MustCompile(`%[0-9A-F]{2}`)

// secretForms returns the ways in which a secret may be spelled. Some are equal.
func secretForms(s string) []string {
	b := []byte(s)
	forms := []string{
		s,
		url.QueryEscape(s), url.PathEscape(s),
		base64.StdEncoding.EncodeToString(b), base64.RawStdEncoding.EncodeToString(b),
		base64.URLEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b),
		hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)),
	}
	forms = append(forms, insideBase64(b)...)
	for _, f := range forms[1:3] {
		forms = append(forms, escape.ReplaceAllStringFunc(f, strings.ToLower))
	}
	for _, f := range forms {
		forms = append(forms, jsonForms(f)...)
	}
	return forms
}

// leastInside is the shortest piece of base64 that is taken for a secret's.
const leastInside = 8

// insideBase64 returns what a secret looks like in the base64 of a longer text, such
// as that of "user:secret": the digits that it alone decides, in each of the three
// places that it can have in a group.
func insideBase64(secret []byte) []string {
	var forms []string
	for before := range 3 {
		text := append(make([]byte, before), secret...)
		from, to := (8*before+5)/6, 8*len(text)/6
		if to-from < leastInside {
			continue
		}
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, enc.EncodeToString(text)[from:to])
		}
	}
	return forms
}

// jsonForms returns a text as it may stand between the quotes of a JSON string: as
// encoding/json writes it, with and without regard to HTML, with slashes escaped,
// and as .NET does it, in whose spelling LeadSquared answers.
func jsonForms(s string) []string {
	plain := func(html bool) string {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(html)
		_ = enc.Encode(s) // a string always encodes
		return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
	}
	var dotnet strings.Builder
	for _, c := range s {
		if strings.ContainsRune("\"&'+<>`", c) {
			fmt.Fprintf(&dotnet, `\u%04X`, c)
		} else {
			dotnet.WriteRune(c)
		}
	}
	html, bare := plain(true), plain(false)
	slashed := func(s string) string { return strings.ReplaceAll(s, "/", `\/`) }
	return []string{html, slashed(html), bare, slashed(bare), dotnet.String()}
}
