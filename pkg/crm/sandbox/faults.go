package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
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

var faultKinds = []FaultKind{
	FaultResetBefore, FaultResetAfter, FaultHang, FaultSlow, FaultTrickle, FaultTruncate,
	FaultEmpty500, FaultHTML, FaultEmptyObject, FaultNoID, FaultHuge, FaultGzipBomb,
	FaultVerbatim, FaultRedirect, FaultThrottle, FaultException, FaultWrongHost,
	FaultNeverProcess, FaultProcessFailed, FaultUnlisted, FaultMeddle, FaultRefuseEntry, FaultDropEntry,
}

// FaultKinds returns every kind there is.
func FaultKinds() []FaultKind { return slices.Clone(faultKinds) }

// Fault is something that goes wrong on demand. Where several fit a request, the
// one that was added first acts. A request that the rate limit refuses meets no
// fault.
type Fault struct {
	// Op is the operation that it is about: "EntityAccess.Share",
	// "EntityAccess.Revoke", "EntityAccess.Status", "Users.Get", "Authentication",
	// "UserGroup.Retrieve", "UserGroup.RetrieveUsers", "UserGroup.AddUsers",
	// "UserGroup.RemoveUsers", "Zoho.Token", "Zoho.Share.Get" (or Post, Put, Delete),
	// "Zoho.Users", "Zoho.Org", "Zoho.Composite", or "*" (or nothing) for all.
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
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&wire); err != nil {
		return err
	}
	if len(wire.Delay) == 0 {
		return nil
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
