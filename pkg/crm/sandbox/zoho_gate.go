package sandbox

import (
	"net/http"
	"strings"
)

// The causes of a refusal, in the vendor's words.
const (
	causeConcurrency = "The concurrency limit of the application has been exceeded"
	causeCredits     = "The API credits of the last 24 hours have been used up"
)

// zohoCall is a call in flight.
type zohoCall struct {
	units int
	key   string // of the record that it writes, empty for none
}

// enter counts a call to Zoho that has arrived, by the number of its arrival, and
// says whether it is within the limits; other calls always are. A call that is let
// in must leave.
func (z *zoho) enter(n int, r *http.Request, op string) (refusal reply, ok bool) {
	if !strings.HasPrefix(op, zohoOps) {
		return reply{}, true
	}
	z.server.mu.Lock()
	defer z.server.mu.Unlock()
	if op == opZohoToken {
		z.tokenRequests++
		return reply{}, true
	}
	call := zohoCall{units: 1}
	if op == opZohoComposite {
		call.units = 5
	}
	if place, ok := parseZohoPlace(r.URL.Path); ok && writes(r.Method) {
		call.key = place.key()
		z.attempt(call.key)
	}
	if z.cfg.Concurrency >= 0 && z.units+call.units > z.cfg.Concurrency {
		z.server.arrivals[n].Refused = true
		return z.refusal(causeConcurrency), false
	}
	if z.cfg.Credits > 0 && !z.credits.admit(z.server.cfg.Now()) {
		z.server.arrivals[n].Refused = true
		return z.refusal(causeCredits), false
	}
	z.calls[n] = call
	z.units += call.units
	if call.key != "" {
		if z.writing[call.key] > 0 {
			z.server.open.conflicts++
		}
		z.writing[call.key]++
	}
	return reply{}, true
}

func writes(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodDelete
}

// leave notes that a call is in flight no longer. It must happen before the reply
// goes out, or a client that holds to the limit exactly would go over it. It may
// be repeated. The server's mutex is held.
func (z *zoho) leave(n int) {
	call, ok := z.calls[n]
	if !ok {
		return
	}
	delete(z.calls, n)
	z.units -= call.units
	if call.key == "" {
		return
	}
	if z.writing[call.key]--; z.writing[call.key] == 0 {
		delete(z.writing, call.key)
	}
}

// attempt notes that a client is about to write a record. Whether it is let in
// does not matter: it does not know what has happened in between when it tries
// again. The server's mutex is held.
func (z *zoho) attempt(key string) {
	rec := z.record(key)
	rec.settle(z.server.cfg.Now())
	switch {
	case !rec.looked:
		z.blind++
	case rec.seen != rec.changes:
		z.stale++
	}
	rec.looked = false
}

// refusal is the reply to a call over a limit. The server's mutex is held.
func (z *zoho) refusal(cause string) reply {
	forms := z.cfg.Throttle.forms()
	form := forms[z.throttled%len(forms)]
	z.throttled++
	var rep reply
	switch form {
	case ThrottlePage:
		rep = htmlReply(http.StatusTooManyRequests, "Too Many Requests")
	case ThrottleNumber:
		rep = jsonReply(http.StatusTooManyRequests, map[string]any{"code": 429, "message": cause, "status": "error"})
	case ThrottleError:
		rep = jsonReply(http.StatusTooManyRequests, map[string]any{"error": "TOO_MANY_REQUESTS", "message": cause})
	default:
		if form == ThrottleVague {
			cause = "You have made too many requests"
		}
		rep = (&zohoError{status: http.StatusTooManyRequests, Code: "TOO_MANY_REQUESTS", Message: cause}).reply()
	}
	if after := z.server.cfg.RetryAfter; after != "" {
		rep.header["Retry-After"] = after
	}
	return rep
}

// creditsLeft returns what is left of the day's credits, and whether replies tell
// it: they do from one half used on.
func (z *zoho) creditsLeft() (left int, tell bool) {
	z.server.mu.Lock()
	defer z.server.mu.Unlock()
	used := len(z.credits.counted)
	return z.cfg.Credits - used, z.cfg.Credits > 0 && 2*used >= z.cfg.Credits
}
