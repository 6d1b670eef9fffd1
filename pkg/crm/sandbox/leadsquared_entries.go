package sandbox

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

var (
	guidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	leadPattern = regexp.MustCompile(`^[0-9]{1,19}$`)
)

// defaultMinutes is how long a share lasts that does not say: 90 days.
const defaultMinutes = 129600

// fields is an entry of a request body, with what has been read from it taken out.
type fields map[string]json.RawMessage

// entries reads the body of Share or Revoke: an array of entries of one kind of
// record.
func (l *leadSquared) entries(x *exchange, kind string) ([]Share, *exception) {
	if media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, &exception{http.StatusBadRequest, "MXInvalidInputException", "Content-Type must be application/json"}
	}
	if !json.Valid(x.body) {
		return nil, &exception{http.StatusBadRequest, "MXInvalidInputException", "The request body is not valid JSON"}
	}
	var list []json.RawMessage
	if err := json.Unmarshal(x.body, &list); err != nil || list == nil {
		return nil, l.invalid("The request body must be an array")
	}
	if len(list) == 0 {
		return nil, l.invalid("The request body is an empty array")
	}
	if len(list) > l.cfg.MaxEntries {
		return nil, l.invalid("The request has %d entries, at most %d are allowed", len(list), l.cfg.MaxEntries)
	}
	var shares []Share
	for _, raw := range list {
		var f fields
		if err := json.Unmarshal(raw, &f); err != nil || f == nil {
			return nil, l.invalid("Every entry must be an object")
		}
		share, e := l.entry(f, kind)
		if e != nil {
			return nil, e
		}
		if len(shares) > 0 && shares[0].Object != share.Object {
			return nil, l.invalid("All entries must have the same Entity")
		}
		shares = append(shares, share)
	}
	return shares, nil
}

// entry reads one entry. Which fields are mandatory differs between share and
// revoke, and between leads and opportunities.
func (l *leadSquared) entry(f fields, kind string) (s Share, e *exception) {
	read := entryReader{l: l, fields: f}
	s.User = read.guid("UserId")
	s.Object = read.object()
	read.constant("EntityType", 3)
	s.Record = read.record(s.Object)
	if s.Object == crm.Lead {
		read.constant("ContextEntity", 1)
		s.Context = read.guid("ContextEntityId")
	}
	s.Access = read.access(kind == kindShare)
	if kind == kindShare {
		s.Minutes = read.minutes()
	}
	return s, read.end()
}

// entryReader takes fields out of an entry and remembers the first thing that was
// wrong with them.
type entryReader struct {
	l      *leadSquared
	fields fields
	wrong  *exception
}

func (r *entryReader) fail(e *exception) {
	if r.wrong == nil {
		r.wrong = e
	}
}

// take removes a field. A field that is null counts as not there.
func (r *entryReader) take(name string) (json.RawMessage, bool) {
	raw, ok := r.fields[name]
	delete(r.fields, name)
	return raw, ok && !bytes.Equal(raw, []byte("null"))
}

func (r *entryReader) text(name string) string {
	raw, ok := r.take(name)
	if !ok {
		r.fail(r.l.missing(name))
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		r.fail(r.l.invalid("Parameter Name: %s must be a string", name))
	}
	return s
}

func (r *entryReader) number(name string) (n int, ok bool) {
	raw, ok := r.take(name)
	if !ok {
		return 0, false
	}
	if json.Unmarshal(raw, &n) != nil {
		r.fail(r.l.invalid("Parameter Name: %s must be an integer", name))
	}
	return n, true
}

func (r *entryReader) mandatory(name string) int {
	n, ok := r.number(name)
	if !ok {
		r.fail(r.l.missing(name))
	}
	return n
}

func (r *entryReader) constant(name string, want int) {
	if n := r.mandatory(name); n != want {
		r.fail(r.l.invalid("Parameter Name: %s", name))
	}
}

func (r *entryReader) guid(name string) string {
	s := r.text(name)
	if !guidPattern.MatchString(s) {
		r.fail(r.l.invalid("Parameter Name: %s is not a GUID", name))
	}
	return strings.ToLower(s)
}

func (r *entryReader) object() string {
	o, ok := object(r.mandatory("Entity"))
	if !ok {
		r.fail(r.l.invalid("Parameter Name: Entity"))
	}
	return o
}

func (r *entryReader) record(object string) string {
	if object != crm.Lead {
		return r.guid("EntityId")
	}
	s := r.text("EntityId")
	if !leadPattern.MatchString(s) {
		r.fail(r.l.invalid("Parameter Name: EntityId is not a ProspectAutoId"))
	}
	return s
}

func (r *entryReader) access(mandatory bool) crm.Access {
	n, ok := r.number("AccessType")
	switch {
	case !ok && mandatory:
		r.fail(r.l.missing("AccessType"))
	case !ok:
		return crm.Read
	case n == 1:
		return crm.Read
	case n == 2:
		return crm.Write
	}
	r.fail(r.l.invalid("Parameter Name: AccessType"))
	return crm.AccessUnset
}

func (r *entryReader) minutes() int {
	n, ok := r.number("DurationInMinutes")
	if !ok {
		return defaultMinutes
	}
	if n <= 0 {
		r.fail(r.l.invalid("Parameter Name: DurationInMinutes"))
	}
	return n
}

// end returns the first thing that was wrong; a field that does not belong there
// is, too.
func (r *entryReader) end() *exception {
	if names := slices.Sorted(maps.Keys(r.fields)); len(names) > 0 {
		r.fail(&exception{r.l.cfg.ErrorStatus, "MXUnknownAttributeException", "Unknown attribute " + names[0]})
	}
	return r.wrong
}
