package zoho

import (
	"context"
	"encoding/json"
	"net/http"
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
	r *reader

	mu   sync.Mutex // guards open and off
	open *bundle    // still takes looks; nil for none
	off  bool       // the CRM does not take composite requests from this token
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
		b.found = t.send(ctx, b.looks)
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

// subRequest is an element of a composite request.
type subRequest struct {
	ID     string `json:"sub_request_id"`
	Method string `json:"method"`
	URI    string `json:"uri"`
}

// send makes the looks of a bundle. Those that did not go well are not shown.
func (t *compositeLooks) send(ctx context.Context, looks []wanted) []finding {
	found := make([]finding, len(looks))
	if len(looks) < 2 {
		return found
	}
	version := t.r.dialect.looks()
	subs := make([]subRequest, len(looks))
	for i, l := range looks {
		subs[i] = subRequest{ID: "look" + string(rune('1'+i)), Method: http.MethodGet, URI: sharePath(version, l.object, l.record)}
	}
	// One after the other: the answers do not say what they answer, and the order in
	// which looks that run side by side are answered is not documented.
	body, _ := json.Marshal(map[string]any{"__composite_requests": subs, "parallel_execution": false}) // texts: it can not fail
	f := t.r.read(ctx, verbRead, "", transport.Request{
		Op: "Composite", Method: http.MethodPost, Path: "/crm/" + version + "/__composite_requests",
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
		return found
	}
	for i, r := range readComposite(f.body, len(looks)) {
		if r != nil {
			found[i] = t.r.clean(classify(verbLook, looks[i].record, 0, r, nil))
		}
	}
	return inPlace(found, looks)
}

// inPlace leaves out what may be the answer to another look, because the answers do not
// say what they answer. If one list names another record of the bundle as where it comes
// from, none is believed; and an empty one, which names nothing, only where all are empty:
// a leaver's record must not pass for one that nobody has.
func inPlace(found []finding, looks []wanted) []finding {
	some := false
	for i, f := range found {
		for _, e := range f.list {
			_, id, _ := strings.Cut(e.through, "/")
			if id != "" && slices.ContainsFunc(looks, func(l wanted) bool { return l.record == id && l != looks[i] }) {
				return make([]finding, len(looks))
			}
		}
		some = some || f.Class != shown || len(f.list) > 0
	}
	for i, f := range found {
		if some && f.Class == shown && len(f.list) == 0 {
			found[i] = finding{}
		}
	}
	return found
}

// readComposite returns the answers to the parts of a composite request, in its
// order, with nil where there is none.
func readComposite(body []byte, size int) []*transport.Response {
	var got struct {
		Parts once `json:"__composite_requests"`
	}
	var parts []struct {
		Status  text `json:"status"`
		Code    text `json:"code"`
		Details struct {
			Response struct {
				Status text `json:"status_code"`
				Body   once `json:"body"`
			} `json:"response"`
		} `json:"details"`
	}
	out := make([]*transport.Response, size)
	if json.Unmarshal(body, &got) != nil || json.Unmarshal(got.Parts, &parts) != nil || len(parts) != size {
		return out
	}
	for i, part := range parts {
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
	return out
}
