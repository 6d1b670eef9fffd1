package leadsquared

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// mostLost is how many answers to one change may be lost before it is given up.
	mostLost = 3
	// comeBack is when to return to a change that never left this machine. The
	// transport has tried three times by then and ends an account that stays away.
	comeBack = 5 * time.Second
)

// work is one Do: what its parts have in common.
type work struct {
	p      *Provider
	callID string
	j      crm.Journal
	// ended is why the account can do no more; later parts are not sent.
	ended *crm.AccountError
}

// part is a part of a call that goes out in one body. items and out are aligned.
type part struct {
	items []crm.Item
	out   []crm.Outcome
	// sent and lost count, for each of its rows, how often the change was sent, and
	// how many of the answers were lost. Halves of a part inherit them.
	sent, lost int
	again      bool // sent again after a lost answer
}

// split returns the two halves of a part.
func (pt *part) split() [2]*part {
	m := len(pt.items) / 2
	a, b := *pt, *pt
	a.items, a.out = pt.items[:m], pt.out[:m]
	b.items, b.out = pt.items[m:], pt.out[m:]
	return [2]*part{&a, &b}
}

// post builds a change. The body holds only what Check has passed.
func (w *work) post(op, path string, body any, before crm.State) transport.Request {
	raw, _ := json.Marshal(body) // texts, numbers and flags: it can not fail
	return transport.Request{
		Op: op, CallID: w.callID, Method: http.MethodPost, Path: path,
		Body: raw, ContentType: "application/json",
		Before: func(ctx context.Context) error { return w.j.Intend(ctx, before) },
	}
}

// attempt sends a change until something other than a rate-limit refusal comes of
// it. A refused attempt had no effect, so it is repeated for shares too; the gate
// holds each one back, and ends the account where refusals do not end.
func (w *work) attempt(ctx context.Context, k kind, pt *part, req transport.Request) finding {
	for {
		switch {
		case w.ended != nil:
			return finding{Finding: transport.Over(w.ended)}
		case ctx.Err() != nil:
			return finding{Finding: transport.Stopped(ctx)}
		}
		r, err := w.p.client.Send(ctx, req)
		f := w.p.clean(classify(k, r, err))
		if f.Class == transport.Throttled {
			continue
		}
		if f.Attempted {
			pt.sent++
			pt.again = pt.again || pt.lost > 0
		}
		if f.Class == transport.Uncertain {
			pt.lost++
		}
		if f.Ended != nil {
			w.ended = f.Ended
		}
		return f
	}
}

// settle writes the finding down as the outcome of every row of the part.
func (w *work) settle(ctx context.Context, pt *part, f finding, ticket string) {
	for i, item := range pt.items {
		pt.out[i] = outcome(ctx, item, f, pt, ticket)
	}
}

// outcome is what a finding means for one row.
func outcome(ctx context.Context, item crm.Item, f finding, pt *part, ticket string) crm.Outcome {
	o := crm.Outcome{
		Code: f.Code, HTTPStatus: f.Status, Attempts: pt.sent, Ended: f.Ended,
		Message: labelled(f.Text, item, pt),
	}
	doubt := pt.lost > 0 || item.Prior != crm.PriorNone
	switch f.Class {
	case transport.Accepted:
		o.Verdict, o.RequestID, o.Ticket = crm.Accepted, f.id, ticket
	case transport.Refused:
		o.Verdict, o.Maybe = crm.Failed, doubt
	case transport.Unsent, transport.Ended:
		o.Verdict, o.Maybe = crm.NotSent, doubt || f.uncertain
		if f.Class == transport.Unsent && ctx.Err() == nil {
			o.Later = comeBack
		}
	default:
		o.Verdict, o.Maybe = lostVerdict(ctx, item.Op, f)
		o.Message = labelled(lostText(f, o.Verdict), item, pt)
	}
	return o
}

// lostVerdict is the verdict on a change whose last answer was lost. One that must
// not be repeated is Unknown. One that had no chance to be repeated, because the
// run or the account ended, is still to be done.
func lostVerdict(ctx context.Context, op crm.Operation, f finding) (v crm.Verdict, maybe bool) {
	switch {
	case !repeatable(op):
		return crm.Unknown, false
	case ctx.Err() != nil || f.Ended != nil:
		return crm.NotSent, true
	}
	return crm.Failed, true
}

func lostText(f finding, v crm.Verdict) string {
	if v == crm.Unknown {
		return "sent, and no answer says whether it was done: " + f.Text
	}
	return "no answer says whether it was done, the last was: " + f.Text + "; running again tries again"
}

// repeatable says whether a change may be sent again after a lost answer. Sharing
// a lead or an opportunity twice may extend or duplicate the share; revoking twice
// ends where revoking once does, and members of a group can be looked up.
func repeatable(op crm.Operation) bool {
	return op.Action == crm.Revoke || op.Object == crm.SalesGroup
}

// labelled adds to the text of an outcome that its change was sent again, and why.
func labelled(s string, item crm.Item, pt *part) string {
	if pt.sent == 0 {
		return s
	}
	return crm.Join(s, item.Prior.SentAgain(pt.again))
}

// clean takes secrets out of a finding's texts and bounds them.
func (p *Provider) clean(f finding) finding {
	f.Finding = f.Clean(p.redact)
	if f.Class == transport.Accepted && p.holdsKey(f.id) {
		f = finding{Finding: transport.Finding{Code: crm.CodeNoAnswer, Text: "an answer that repeats the account's keys", Status: f.Status, Attempted: f.Attempted}}
	}
	return f
}

// holdsKey says whether an Id repeats one of the keys, which would carry it into
// tickets and results. A key that is too short to be told from an Id is let be.
func (p *Provider) holdsKey(id string) bool {
	for _, key := range []transport.Secret{p.cfg.AccessKey, p.cfg.SecretKey} {
		if k := key.Reveal(); len(k) >= 8 && strings.Contains(id, k) {
			return true
		}
	}
	return false
}
