package transport

import (
	"bytes"
	"encoding/json"
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

// Object reads the body into v; false where it is not one JSON object, or was cut.
func (r *Response) Object(v any) bool {
	body := TrimJSON(r.Body)
	return !r.Truncated && bytes.HasPrefix(body, []byte("{")) && json.Unmarshal(body, v) == nil
}
