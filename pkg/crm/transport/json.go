package transport

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// Vendors' replies are odd at times, and one odd field must not hide the others: what
// follows takes any JSON value, and believes nothing that is said twice.

// Text is any JSON value as text: a string as it is, null as "", anything else as
// it is written, so that a long id that comes as a number keeps its digits. Of a
// field that is given twice, both values are kept: together they are no word, code
// or id that means anything.
type Text string

// UnmarshalJSON accepts every value.
func (t *Text) UnmarshalJSON(b []byte) error {
	var s *string
	now := Text(b)
	if json.Unmarshal(b, &s) == nil {
		now = ""
		if s != nil {
			now = Text(strings.TrimSpace(*s))
		}
	}
	if before := *t; before != "" && now != before {
		now = before + " / " + now
	}
	*t = now
	return nil
}

// Once is a part of a reply that counts only if it is given once: of two lists none is
// believed. In place of the second one stands a text, which is no list.
type Once json.RawMessage

// UnmarshalJSON accepts every value.
func (o *Once) UnmarshalJSON(b []byte) error {
	if len(*o) > 0 {
		b = []byte(`"given twice"`)
	}
	*o = append(Once(nil), b...)
	return nil
}

// Absent says whether the part is missing or null.
func (o Once) Absent() bool { return len(o) == 0 || string(o) == "null" }

// TrimJSON takes off what may stand around JSON.
func TrimJSON(b []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
}

// Object returns the body of a reply as a T, which nobody may change; the zero value and
// false where it is not one JSON object, or was cut. A body is read once, for Inspect and
// for whoever reads the reply after it.
func Object[T any](r *Response) (*T, bool) {
	if known, ok := r.object.(*T); ok {
		return known, true
	}
	body, v := TrimJSON(r.Body), new(T)
	if r.Truncated || !bytes.HasPrefix(body, []byte("{")) || json.Unmarshal(body, v) != nil {
		return new(T), false
	}
	r.object = v
	return v, true
}

// Quoted lists what the fields of a reply say, each a name and a text, without those that
// say nothing; for messages about a reply that contradicts itself.
func Quoted(fields ...[2]string) string {
	var parts []string
	for _, f := range fields {
		if f[1] != "" {
			parts = append(parts, f[0]+" "+strconv.Quote(f[1]))
		}
	}
	return strings.Join(parts, ", ")
}
