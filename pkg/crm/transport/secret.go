package transport

import (
	"fmt"
	"log/slog"
)

// redacted is what stands wherever a secret would be printed.
const redacted = "[redacted]"

// Secret is a text that must not be printed: a key, a token. Every way of
// printing or encoding it gives "[redacted]"; Reveal is the only way to the text,
// and to comparing two of them. The zero value is an empty secret.
type Secret struct {
	// text is a pointer because fmt does not call the methods of what it finds in
	// another struct's unexported field: it prints the bare value, here an address.
	text *string
}

// NewSecret wraps a text.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{text: &s}
}

// Reveal returns the text. What it is given to must not be logged.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero says whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format writes "[redacted]" for every verb, those included that would walk into
// the fields of a struct.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
