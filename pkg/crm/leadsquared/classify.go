package leadsquared

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// kind is what a request does: it decides which Id a success carries.
type kind uint8

const (
	kindAccess kind = iota // share or revoke: Message.Id
	kindGroup              // members of a sales group: Response.RequestId
	kindLook               // changes nothing and answers as it likes: no Id
)

// finding is what is known after one attempt.
type finding struct {
	transport.Finding
	id    string // that the CRM gave to what it accepted
	reply *reply // of a look that was answered
	body  []byte // likewise
	// uncertain says that it may have taken effect although the account has ended.
	uncertain bool
}

var (
	limitText = regexp.MustCompile(`(?i)exceeded the limit of (\d+) in (\d+) second`)
	// keysText: any error that mentions keys is about keys, whatever its status.
	keysText = regexp.MustCompile(`(?i)access\s?key|secret\s?key|access details`)
	// passingText marks an exception that may be gone at the next attempt. It is a
	// heuristic of the field, not the vendor's word. It counts as a lost answer and not
	// as a refusal, because a server's own timeout may strike after the work was
	// queued: a revoke is sent again, a share is not.
	passingText = regexp.MustCompile(`(?i)time[d]?\s?-?out|dead\s?lock|try again|unavailable`)
	// aboutRow are the exceptions that are about what was sent, whatever words they use.
	aboutRow = regexp.MustCompile(`(?i)^MX(Invalid(Input|Lead|Field|Activity)|Mandatory|Unknown|Duplicate)`)
)

// classify decides what one attempt has come to: from the error where no answer
// came, else from the body before the status, because application errors come with
// statuses of every kind. It is the only place that does, and it is pure.
func classify(k kind, r *transport.Response, err error) finding {
	if err != nil || r == nil {
		return finding{Finding: transport.Unanswered(err)}
	}
	p, parsed := transport.Object[reply](r)
	f := finding{Finding: transport.Finding{Status: r.Status, Attempted: true}}
	ok := r.Status >= 200 && r.Status < 300
	f.Code = crm.CodeNoAnswer
	switch {
	case parsed && k != kindLook && p.contradicts(r.Status):
		// It may have been accepted, and a share must not be sent again.
		f.Text = fmt.Sprintf("HTTP %d with an answer that contradicts itself: %s", r.Status, p.words())

	// About the account.
	case r.Throttled || limited(r, p, parsed):
		f.Class, f.Code, f.Text, f.Attempted = transport.Throttled, "", p.says(), false
	case r.Status == http.StatusUnauthorized, aboutKeys(k, r, p, parsed), r.Status == http.StatusForbidden && !p.isMX():
		// Without a type, a 5xx may come after the work as well as before it.
		f.uncertain = r.Status >= 500 && p.ExceptionType == ""
		f.End(crm.EndKeys, fmt.Sprintf("the CRM refused the keys (HTTP %d)", r.Status), p.says(),
			"Check both keys and the host; the keys must be an administrator's.")
	case r.Status >= 300 && r.Status < 400:
		f.Redirected(r, "Set the host of the account to the one that serves its API.")
	case r.Status == http.StatusNotFound && (k != kindLook || !parsed || !p.failed()):
		// What a question about something unknown is answered with is not documented: an
		// error of the application is about that, and not about the path.
		f.End(crm.EndHost, "the host does not know the path (HTTP 404)", p.says(),
			"Check the host of the account, which is that of its region, and remove_users_path if it is set.")

	// About the request.
	case parsed && p.ExceptionType != "":
		f.Code, f.Text = string(p.ExceptionType), p.says()
		// Exceptions of the MX family and 4xx come again, unless they speak of something
		// that passes; other types are failures of the system beneath.
		constant := p.isMX() || transport.TurnedDown(r.Status)
		passing := passingText.MatchString(f.Text) && !aboutRow.MatchString(f.Code)
		if r.Status == http.StatusBadRequest || constant && !passing {
			f.Class = transport.Refused
		}
	case parsed && p.failed() && (r.Status < 502 || r.Status > 504):
		// A 500 without a type may come from anywhere, before the work or after it.
		f.Text = p.says()
		if r.Status < 500 && !passingText.MatchString(f.Text) {
			f.Class, f.Code = transport.Refused, crm.CodeError
		}
	case ok && parsed && k == kindLook:
		f.Class, f.Code, f.reply, f.body = transport.Shown, "", p, r.Body
	case ok && parsed:
		f.id = idText(p.Message.ID)
		if k == kindGroup {
			f.id = idText(p.Response.RequestID)
		}
		if f.Text = fmt.Sprintf("HTTP %d without both a success and a request Id", r.Status); p.succeeded() && f.id != "" {
			f.Class, f.Code, f.Text = transport.Accepted, "", ""
		}
	default:
		if f.Bare(); transport.TurnedDown(r.Status) {
			f.Text = p.says()
		} else if p.says() != "" {
			f.Text = fmt.Sprintf("HTTP %d: %s", r.Status, p.says())
		}
	}
	return f
}

// limited recognises a rate-limit refusal in all its forms: by status, by type and
// by text with any status.
func limited(r *transport.Response, p *reply, parsed bool) bool {
	switch {
	case r.Status == http.StatusTooManyRequests:
		return true
	case parsed && p.succeeded():
		return false
	case strings.EqualFold(string(p.ExceptionType), "MXAPIRateLimitExceededException"), limitText.MatchString(p.says()):
		return true
	}
	said := opening(r.Body)
	isList := bytes.HasPrefix(said, []byte("[")) // it may hold any words and be no refusal
	return (r.Status >= 400 || !parsed && !isList) && limitText.Match(said)
}

// inspect tells the transport of a refusal, with what its text says of the account's
// limit, and of exceptions that came from the application itself.
func inspect(r *transport.Response) transport.Signal {
	p, parsed := transport.Object[reply](r)
	if !limited(r, p, parsed) {
		// An exception of the application is no sign of an outage, whatever its status.
		return transport.Signal{Answered: parsed && p.isMX()}
	}
	t := transport.Throttle{Text: p.says()} // the gate's client redacts it, then cuts it
	words := []byte(p.says())
	if !limitText.Match(words) {
		words = opening(r.Body)
	}
	if m := limitText.FindSubmatch(words); m != nil {
		n, errN := strconv.Atoi(string(m[1]))
		w, errW := strconv.Atoi(string(m[2]))
		if errN == nil && errW == nil && n > 0 && w > 0 && w <= 24*60*60 {
			t.Limit, t.Window = n, time.Duration(w)*time.Second
		}
	}
	return transport.Signal{Throttled: true, Throttle: t}
}

// opening is where a refusal of no known shape says what it is.
func opening(body []byte) []byte {
	body = bytes.TrimSpace(body)
	return body[:min(len(body), 4096)]
}

// aboutKeys says whether a reply that is no success speaks of the keys that it came
// for. A 4xx may do so in any shape but a page, which is not the CRM's; a 5xx in the
// field of a message only, because what else it holds may be the request itself.
func aboutKeys(k kind, r *transport.Response, p *reply, parsed bool) bool {
	switch strings.ToLower(string(p.ExceptionType)) {
	case "mxunauthorizedaccessexception", "mxauthenticationfailedexception":
		return true
	}
	answered := parsed && (p.succeeded() || k == kindLook && r.Status < 300 && !p.failed())
	if answered || !parsed && r.Status < 400 {
		return false
	}
	said := opening(r.Body)
	anywhere := r.Status < 500 && p.ExceptionType == "" && !bytes.HasPrefix(said, []byte("<"))
	return keysText.MatchString(p.says()) || anywhere && keysText.Match(said)
}

// isMX says whether the reply carries an exception of the application's own family.
func (p *reply) isMX() bool {
	return len(p.ExceptionType) > 2 && strings.EqualFold(string(p.ExceptionType[:2]), "MX")
}
