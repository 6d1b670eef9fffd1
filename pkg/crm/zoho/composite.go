package zoho

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// mostComposite is how many requests the composite API takes at once.
	mostComposite = 5
	// compositeUnits is how many calls in flight a composite request counts for,
	// whatever is in it.
	compositeUnits = 5
	// gatherFor is how long a look waits for others to go with.
	gatherFor = 20 * time.Millisecond
)

// compositeLooks sends looks that are wanted at the same time by the composite API. A
// look that did not get a list that way is made by itself.
type compositeLooks struct {
	r      *reader
	places *places // what is known of the order of the answers; nil: it is never relied on

	mu   sync.Mutex // guards open and off
	open *bundle    // still takes looks; nil for none
	off  bool       // the CRM does not take composite requests from this token
}

// refused says that the CRM does not take composite requests from this token.
func (t *compositeLooks) refused() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.off
}

// bundle is the looks that go in one request.
type bundle struct {
	looks []wanted
	done  chan struct{} // closed when found is there
	found []finding     // as the looks
}

type wanted struct{ object, record string }

// look asks who has a record. A bundle is sent by the look that fills it, or by its first
// one when that has waited long enough.
func (t *compositeLooks) look(ctx context.Context, object, record string) finding {
	t.mu.Lock()
	if t.off {
		t.mu.Unlock()
		return t.r.look(ctx, "", object, record)
	}
	if t.open == nil {
		t.open = &bundle{done: make(chan struct{})}
	}
	b, at := t.open, len(t.open.looks)
	b.looks = append(b.looks, wanted{object, record})
	sends := len(b.looks) == mostComposite
	if sends {
		t.open = nil
	}
	t.mu.Unlock()

	if at == 0 {
		timer := time.NewTimer(gatherFor)
		defer timer.Stop()
		select {
		case <-b.done:
		case <-timer.C:
		case <-ctx.Done():
		}
		t.mu.Lock()
		if sends = t.open == b; sends {
			t.open = nil
		}
		t.mu.Unlock()
	}
	if sends {
		b.found, _ = t.send(ctx, b.looks)
		close(b.done)
	}
	select {
	case <-b.done:
		if f := b.found[at]; f.Class == shown {
			return f
		}
	case <-ctx.Done():
	}
	return t.r.look(ctx, "", object, record)
}

// compositeBody is the body of a composite request.
type compositeBody struct {
	Requests []subRequest `json:"__composite_requests"`
	Parallel bool         `json:"parallel_execution"`
}

// subRequest is an element of a composite request.
type subRequest struct {
	ID     string `json:"sub_request_id"`
	Method string `json:"method"`
	URI    string `json:"uri"`
}

// subID is how the nth request of a composite one is called.
func subID(n int) string { return "look" + string(rune('1'+n)) }

// onlyLooks says what else than looks the body of a composite request asks for: the body
// is to be what its looks are written as, and nothing besides.
func onlyLooks(body []byte) error {
	var c compositeBody
	err := json.Unmarshal(body, &c)
	again, _ := json.Marshal(c) // texts: it can not fail
	if err != nil || !bytes.Equal(again, body) {
		return errors.New("a composite request that holds something else than looks")
	}
	for _, sub := range c.Requests {
		if sub.Method != http.MethodGet || !shareGet.MatchString(sub.URI) {
			return errors.New("a composite request for something else than a look")
		}
	}
	return nil
}

// shareGet is where a look goes.
var shareGet = regexp.MustCompile(`^/crm/v[0-9.]+/[A-Za-z][A-Za-z0-9_]*/[0-9]+/actions/share$`)

// compositePath is where composite requests go.
func compositePath(version string) string { return "/crm/" + version + "/__composite_requests" }

// send makes the looks of a bundle. Those that did not go well are not shown; where sure,
// what else a finding says is about its look too.
func (t *compositeLooks) send(ctx context.Context, looks []wanted) (found []finding, sure bool) {
	found = make([]finding, len(looks))
	if len(looks) < 2 {
		return found, false
	}
	version := t.r.dialect.looks()
	// One after the other: the answers do not say what they answer, and the order in
	// which looks that run side by side are answered is not documented.
	asked := compositeBody{Requests: make([]subRequest, len(looks))}
	for i, l := range looks {
		asked.Requests[i] = subRequest{ID: subID(i), Method: http.MethodGet, URI: sharePath(version, l.object, l.record)}
	}
	body, _ := json.Marshal(asked) // texts: it can not fail
	f := t.r.read(ctx, verbRead, "", transport.Request{
		Op: "Composite", Method: http.MethodPost, Path: compositePath(version),
		Body: body, MaxBody: mostComposite << 20, Units: compositeUnits,
	})
	if f.Class == refused {
		// What the CRM has refused it would refuse again, at the price of a request each time.
		f = t.r.explainRead(f, scopeComposite)
		t.mu.Lock()
		first := !t.off
		t.off = true
		t.mu.Unlock()
		if first {
			t.r.log.Warn("the CRM refuses composite requests; looks are made one by one", "code", f.Code, "message", f.Text)
		}
	}
	if f.Class != shown {
		return found, false
	}
	parts, named := readComposite(f.body, len(looks))
	for i, r := range parts {
		if r != nil {
			found[i] = t.r.clean(classify(verbLook, looks[i].record, 0, r, nil))
		}
	}
	switch {
	case named:
		return found, true
	case strays(found, looks):
		t.places.wrong()
		return make([]finding, len(looks)), false
	case t.places.right(parts, looks):
		return found, true
	}
	return inPlace(found), false
}

// strays says whether a list names another record of the bundle as where it comes from: it
// may be the answer to the look at that one.
func strays(found []finding, looks []wanted) bool {
	for i, f := range found {
		for _, e := range f.list {
			_, id, _ := strings.Cut(e.through, "/")
			if id != "" && slices.ContainsFunc(looks, func(l wanted) bool { return l.record == id && l != looks[i] }) {
				return true
			}
		}
	}
	return false
}

// inPlace leaves out what may be the answer to another look, because the answers do not
// say what they answer: an empty list, which names nothing, is believed only where all are
// empty. A leaver's record must not pass for one that nobody has.
func inPlace(found []finding) []finding {
	some := slices.ContainsFunc(found, func(f finding) bool { return f.Class != shown || len(f.list) > 0 })
	for i, f := range found {
		if some && f.Class == shown && len(f.list) == 0 {
			found[i] = finding{}
		}
	}
	return found
}

// readComposite returns the answers to the parts of a composite request, in its
// order, with nil where there is none. Where they say which part they answer, which the CRM
// does not document, the order is that of what they say, and named says so.
func readComposite(body []byte, size int) (out []*transport.Response, named bool) {
	var got struct {
		Parts once `json:"__composite_requests"`
	}
	var parts []struct {
		ID      text `json:"sub_request_id"`
		Status  text `json:"status"`
		Code    text `json:"code"`
		Details struct {
			Response struct {
				Status text `json:"status_code"`
				Body   once `json:"body"`
			} `json:"response"`
		} `json:"details"`
	}
	out = make([]*transport.Response, size)
	if json.Unmarshal(body, &got) != nil || json.Unmarshal(got.Parts, &parts) != nil || len(parts) != size {
		return out, false
	}
	told := make([]bool, size)
	for i, part := range parts {
		if named = named || part.ID != ""; named {
			at := -1
			for n := range size {
				if string(part.ID) == subID(n) && !told[n] {
					at = n
				}
			}
			if at < 0 || parts[0].ID == "" { // none of ours, or not said of all
				return make([]*transport.Response, size), false
			}
			i, told[at] = at, true
		}
		// The part itself says whether it was carried out, and its answer what came of it.
		r := part.Details.Response
		status, err := strconv.Atoi(string(r.Status))
		if err != nil || verdict(http.StatusOK, part.Status, part.Code) != yes {
			continue
		}
		out[i] = &transport.Response{Status: status, Header: http.Header{}}
		if !r.Body.Absent() {
			out[i].Body = r.Body
		}
	}
	return out, named
}
