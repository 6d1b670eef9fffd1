package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// FaultKind names what goes wrong.
type FaultKind string

// The faults that cut, delay or garble the answer. The request is carried out
// before them, except where a kind says otherwise.
const (
	FaultResetBefore FaultKind = "reset_before" // connection reset; not carried out
	FaultResetAfter  FaultKind = "reset_after"  // connection reset; the answer is lost
	FaultHang        FaultKind = "hang"         // no answer until the client goes; carried out only if Processed
	FaultSlow        FaultKind = "slow"         // the answer comes Delay later
	FaultTrickle     FaultKind = "trickle"      // a byte every Delay (0: 100 ms)
	FaultTruncate    FaultKind = "truncate"     // half of the announced body, then a reset
)

// The faults that answer something else. The request is carried out only if
// Processed.
const (
	FaultEmpty500    FaultKind = "empty_500"    // 500 without a body
	FaultHTML        FaultKind = "html_200"     // a web page with status 200
	FaultEmptyObject FaultKind = "empty_object" // {} with status 200
	FaultNoID        FaultKind = "no_id"        // success without the request Id
	FaultHuge        FaultKind = "huge"         // Bytes of success (0: 16 MiB)
	FaultGzipBomb    FaultKind = "gzip_bomb"    // the same compressed (0: 64 MiB unpacked), asked for or not
	FaultVerbatim    FaultKind = "verbatim"     // Status, Header and Body as given
	FaultRedirect    FaultKind = "redirect"     // to URL, with Status (0: 302)
	FaultThrottle    FaultKind = "throttle"     // refused as if over the rate limit
	FaultException   FaultKind = "exception"    // the vendor's error with Type, Text and Status (0: 500)
	FaultWrongHost   FaultKind = "wrong_host"   // 401 whose text names the host URL
)

// The faults of what happens after a change has been accepted.
const (
	FaultNeverProcess  FaultKind = "never_process"  // pending for ever, without effect
	FaultProcessFailed FaultKind = "process_failed" // fails when it is processed, with Text as ErrorMessage
	FaultUnlisted      FaultKind = "unlisted"       // processed, but ShareStatus stays at Code (0: 9)
)

// The faults that only Zoho's shares and queries know. The request is carried out.
const (
	// FaultMeddle: after a read that succeeds, somebody else changes the record's
	// list as Body says, a Meddling in JSON. A Body that is none makes every later
	// change fail, with that in its text.
	FaultMeddle FaultKind = "meddle"
	// FaultRefuseEntry: the entry of a write whose recipient is Match, or if Match is
	// empty the one with the index Code, fails with Type and Text.
	FaultRefuseEntry FaultKind = "refuse_entry"
	// FaultDropEntry: a write is accepted in full, and when it is processed the
	// recipient Match gets nothing.
	FaultDropEntry FaultKind = "drop_entry"
	// FaultVanish: after a query that succeeds, records are gone as Body says, in JSON
	// {"module":"Leads","record_ids":["1"]}. A Body that is none makes every later change
	// fail, with that in its text.
	FaultVanish FaultKind = "vanish"
)

// The kinds of a fault, by what becomes of the answer.
var (
	cutFaults      = []FaultKind{FaultResetBefore, FaultResetAfter, FaultHang, FaultSlow, FaultTrickle, FaultTruncate}
	replacedFaults = []FaultKind{FaultEmpty500, FaultHTML, FaultEmptyObject, FaultNoID, FaultHuge, FaultGzipBomb,
		FaultVerbatim, FaultRedirect, FaultThrottle, FaultException, FaultWrongHost}
	acceptedFaults = []FaultKind{FaultNeverProcess, FaultProcessFailed, FaultUnlisted, FaultMeddle, FaultRefuseEntry, FaultDropEntry, FaultVanish}
)

// FaultKinds returns every kind there is.
func FaultKinds() []FaultKind { return slices.Concat(cutFaults, replacedFaults, acceptedFaults) }

// Fault is something that goes wrong on demand. Where several fit a request, the
// one that was added first acts. A request that the rate limit refuses meets no
// fault.
type Fault struct {
	// Op is the operation that it is about: "EntityAccess.Share",
	// "EntityAccess.Revoke", "EntityAccess.Status", "Users.Get", "Authentication",
	// "UserGroup.Retrieve", "UserGroup.RetrieveUsers", "UserGroup.AddUsers",
	// "UserGroup.RemoveUsers", "Zoho.Token", "Zoho.Share.Get" (or Post, Put, Delete),
	// "Zoho.Users", "Zoho.Org", "Zoho.Composite", "Zoho.Query", "Zoho.Modules",
	// "Zoho.DataSharing", "Zoho.Groups", or "*" (or nothing) for all.
	Op string `json:"op,omitempty"`
	// Match is a part of the request's path, body or raw query; empty for any request.
	Match string `json:"match,omitempty"`
	// Kind is what goes wrong; the fields below count where the kind names them.
	Kind FaultKind `json:"kind"`
	// Times is how often it happens; 0 for always. After is how many requests that
	// fit are spared first.
	Times int `json:"times,omitempty"`
	After int `json:"after,omitempty"`

	Status    int               `json:"status,omitempty"`
	Body      string            `json:"body,omitempty"`
	Header    map[string]string `json:"header,omitempty"` // added to what the kind sends
	Delay     time.Duration     `json:"delay,omitempty"`  // in JSON also as text: "1.5s"
	Processed bool              `json:"processed,omitempty"`
	Bytes     int64             `json:"bytes,omitempty"`
	Type      string            `json:"type,omitempty"`
	Text      string            `json:"text,omitempty"`
	URL       string            `json:"url,omitempty"`
	Code      int               `json:"code,omitempty"`
}

// UnmarshalJSON reads a fault, with its delay as text or as nanoseconds. Unknown
// fields are errors.
func (f *Fault) UnmarshalJSON(data []byte) error {
	type plain Fault
	wire := struct {
		*plain
		Delay json.RawMessage `json:"delay"`
	}{plain: (*plain)(f)}
	if err := decodeStrictly(data, &wire); err != nil || len(wire.Delay) == 0 {
		return err
	}
	var text string
	if json.Unmarshal(wire.Delay, &text) != nil {
		return json.Unmarshal(wire.Delay, &f.Delay)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("read delay: %w", err)
	}
	f.Delay = d
	return nil
}

// decodeStrictly reads the JSON value at the start of data. Unknown fields are errors.
func decodeStrictly(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// armed is a fault with what it has met so far.
type armed struct {
	Fault
	seen, fired int
}

// Fault adds a fault. A kind that does not exist answers every request that fits
// with status 501 and its name.
func (s *Server) Fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &armed{Fault: f})
}

// ClearFaults makes an end of all faults, except for requests that are under way.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// pick returns the fault that a request meets, nil for none.
func (s *Server) pick(x *exchange) *Fault {
	for _, a := range s.faults {
		fits := (a.Op == "" || a.Op == "*" || a.Op == x.op) && (bytes.Contains(x.body, []byte(a.Match)) ||
			strings.Contains(x.r.URL.RawQuery, a.Match) || strings.Contains(x.r.URL.Path, a.Match))
		if !fits {
			continue
		}
		a.seen++
		if a.seen > a.After && (a.Times <= 0 || a.fired < a.Times) {
			a.fired++
			return new(a.Fault)
		}
	}
	return nil
}

// is says whether f is of one of the kinds; no fault is of none.
func (f *Fault) is(kinds ...FaultKind) bool { return f != nil && slices.Contains(kinds, f.Kind) }

// silent says that nothing at all is answered to a request that meets f.
func (f *Fault) silent() bool { return f.is(FaultResetBefore, FaultResetAfter, FaultHang) }

// replaces says that the answer to a request that meets f is not the true one. That
// to a kind that does not exist says so.
func (f *Fault) replaces() bool { return f != nil && !f.is(cutFaults...) && !f.is(acceptedFaults...) }

// carriedOut says whether a request that meets f is carried out all the same.
func (f *Fault) carriedOut() bool {
	return f == nil || f.Processed || !f.replaces() && !f.is(FaultResetBefore, FaultHang)
}

// loses says that a client that meets f does not learn what the true answer was.
func (f *Fault) loses() bool { return f.silent() || f.replaces() || f.is(FaultTruncate) }

// Meddling is a change of a record's list by somebody else.
type Meddling struct {
	Clear  bool        `json:"clear,omitempty"`  // everything is taken away first
	Remove []string    `json:"remove,omitempty"` // recipients by id
	Add    []crm.Grant `json:"add,omitempty"`    // in place of entries with the same recipient
}

// apply returns a list as the change leaves it.
func (m Meddling) apply(list []crm.Grant) []crm.Grant {
	for i, g := range m.Add {
		m.Add[i] = normalised(g)
	}
	next := slices.DeleteFunc(list, func(g crm.Grant) bool {
		return m.Clear || slices.Contains(m.Remove, g.ID) || contains(m.Add, g)
	})
	return append(next, m.Add...)
}
