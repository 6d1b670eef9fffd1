package ledger

import (
	"encoding/json"
	"strconv"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// telling is the body of an event while it is written. Two are written for every
// call, and encoding/json would take a tenth of what a call may cost.
type telling []byte

// newTelling begins an event's body, in the room of the one before: a body is
// written down before the next is begun.
func (c *conn) newTelling() telling { return append(c.telling[:0], '{') }

// field begins a field: a comma if it is not the first, and its name, which needs
// no escaping.
func (t telling) field(name string) telling {
	if last := t[len(t)-1]; last != '{' && last != '[' {
		t = append(t, ',')
	}
	t = append(t, '"')
	t = append(t, name...)
	return append(t, '"', ':')
}

// text adds a field unless it is empty.
func (t telling) text(name, value string) telling {
	if value == "" {
		return t
	}
	return t.field(name).quote(value)
}

// number adds a field unless it is 0.
func (t telling) number(name string, n int64) telling {
	if n == 0 {
		return t
	}
	return strconv.AppendInt(t.field(name), n, 10)
}

// open begins an object in a list, or the first one of all.
func (t telling) open() telling {
	if len(t) > 0 && t[len(t)-1] == '}' {
		t = append(t, ',')
	}
	return append(t, '{')
}

// quote adds a text as a JSON string.
func (t telling) quote(s string) telling {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			raw, _ := json.Marshal(s) // a string always encodes
			return append(t, raw...)
		}
	}
	t = append(t, '"')
	t = append(t, s...)
	return append(t, '"')
}

// operation adds what a row asks for, with the lines that ask for it, as the sheet
// was then.
func (t telling) operation(op crm.Operation, lines []int) telling {
	t = append(t.field("lines"), '[')
	for i, line := range lines {
		if i > 0 {
			t = append(t, ',')
		}
		t = strconv.AppendInt(t, int64(line), 10)
	}
	t = append(t, ']')
	t = t.field("action").quote(op.Action.String())
	t = t.field("object").quote(op.Object)
	t = t.field("record").quote(op.Record)
	t = t.text("context", op.Context).text("user", op.User).text("access", op.Access.String())
	t = t.number("minutes", int64(op.Minutes)).text("related", op.Related.String())
	return t.text("permissions", op.Permissions.String())
}

// outcome adds what became of the row.
func (t telling) outcome(s Settle) telling {
	t = t.field("result").quote(s.State.String())
	if s.Maybe {
		t = append(t.field("maybe"), "true"...)
	}
	t = t.text("request_id", s.RequestID).text("code", s.Code).text("message", s.Message).text("note", s.Note)
	return t.number("http_status", int64(s.HTTPStatus)).number("attempts", int64(s.Attempts))
}
