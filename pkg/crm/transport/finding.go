package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Class is what one attempt has come to.
type Class uint8

// The classes that every vendor has.
const (
	// Uncertain: it may have taken effect or not; no answer says so. The zero value,
	// because it promises least.
	Uncertain Class = iota
	// Accepted: the CRM accepted the whole change.
	Accepted
	// Shown: a request that changes nothing was answered.
	Shown
	// Refused: the CRM refused the request, and would again.
	Refused
	// Throttled: a limit refused the attempt, which had no effect.
	Throttled
	// Unsent: nothing left this machine.
	Unsent
	// Ended: the account can do no more in this run; Finding.Ended says why.
	Ended
	// OwnClass is the first of a vendor's own.
	OwnClass
)

// ComeBack is when to return to what never left this machine. The client has tried three
// times by then, and ends an account that stays away.
const ComeBack = 5 * time.Second

// Finding is what is known after one attempt. Its texts are as they came, until Clean.
type Finding struct {
	Class  Class
	Code   string // the CRM's, or one of ours
	Text   string
	Status int // of the answer; 0 where none came
	// Ended is set for Class Ended, and where a request may have been sent whose account
	// can do no more.
	Ended *crm.AccountError
	// Attempted says that the request reached, or may have reached, the server and was
	// not refused by a limit.
	Attempted bool
}

// Unanswered is what is known after an attempt without an answer, from the client's
// error. One that does not say that nothing was sent counts as sent.
func Unanswered(err error) Finding {
	if err == nil {
		err = errors.New("no answer")
	}
	f := Finding{Code: crm.CodeNoAnswer, Text: err.Error(), Attempted: true}
	te, known := errors.AsType[*Error](err)
	end, ended := errors.AsType[*crm.AccountError](err)
	switch {
	case ended && (!known || !te.Sent):
		return Over(end)
	case ended:
		f.Ended = end
	case known && !te.Sent:
		f.Class, f.Code, f.Attempted = Unsent, "", false
	}
	return f
}

// Over is the finding for a request that was not sent, because the account has ended.
func Over(end *crm.AccountError) Finding {
	f := Finding{Class: Ended, Code: end.Code, Ended: end}
	if end.Err != nil {
		f.Text = end.Err.Error()
	}
	return f
}

// Stopped is the finding for a request that was not sent, because ctx is done.
func Stopped(ctx context.Context) Finding {
	return Finding{Class: Unsent, Text: context.Cause(ctx).Error()}
}

// End makes the finding one that ends the account: what happened, with what the CRM says
// of it, which may be nothing, and what somebody can do about it.
func (f *Finding) End(code, what, says, hint string) {
	if says != "" {
		what += ": " + says
	}
	f.Class, f.Code, f.Text = Ended, code, what
	f.Ended = &crm.AccountError{Code: code, Err: errors.New(what), Hint: hint}
}

// Redirected makes it that of a redirect.
func (f *Finding) Redirected(r *Response, hint string) {
	f.End(crm.EndRedirect, fmt.Sprintf("the host answers with a redirect (HTTP %d) to %s", r.Status, r.RedirectedTo()), "", hint)
}

// Bare makes it that of an answer of which only the HTTP status says anything: a 4xx is a
// refusal, but for those that may come after the work as well as before it.
func (f *Finding) Bare() {
	f.Code, f.Text = crm.CodeNoAnswer, fmt.Sprintf("HTTP %d with a body that can not be read as an answer", f.Status)
	if TurnedDown(f.Status) {
		f.Class, f.Code = Refused, crm.CodeHTTP+strconv.Itoa(f.Status)
	}
}

// TurnedDown says whether an HTTP status is that of a request that was not carried out.
func TurnedDown(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooEarly
}

// Clean takes secrets out of the texts and bounds them.
func (f Finding) Clean(r *Redactor) Finding {
	f.Code, f.Text = r.Clean(f.Code), r.Clean(f.Text)
	if f.Ended != nil && f.Ended.Err != nil {
		if said := f.Ended.Err.Error(); r.Clean(said) != said {
			end := *f.Ended
			end.Err = errors.New(r.Clean(said))
			f.Ended = &end
		}
	}
	return f
}
