package leadsquared

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// Confirm asks once what became of the request that the items share, by its Id. A
// change of a sales group has no status: there the group is looked at, and each
// item judged by its own membership. See crm.Provider for what it promises.
func (p *Provider) Confirm(ctx context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	if len(items) == 0 {
		return nil, crm.State{}
	}
	if p.Shows(items[0].Op) {
		return p.confirmGroup(ctx, items)
	}
	ticket := items[0].Ticket
	f := finding{Finding: transport.Finding{Code: crm.CodeTicket, Text: "the ticket is no request Id"}}
	if idText(text(ticket)) != "" {
		f = p.look(ctx, transport.Request{
			Op: "EntityAccess.Status", Path: "/v2/EntityAccess.svc/Status/Get",
			Query: url.Values{"id": {ticket}},
		})
	}
	o := unconfirmed(f)
	if f.Class == transport.Shown {
		o = p.status(f, len(items))
	}
	o.RequestID = ticket
	if o.Status == crm.Accepted {
		o.Ticket = ticket
	}
	return slices.Repeat([]crm.Outcome{o}, len(items)), crm.State{}
}

// unconfirmed is the outcome of a look that brought no answer or a refusal. What a
// refused look means is unknown: the request may be unknown, or too old to be asked
// about. It is told as it came, and the operation stays accepted.
func unconfirmed(f finding) crm.Outcome {
	return crm.Outcome{Status: crm.Accepted, Code: f.Code, Message: f.Text, HTTPStatus: f.Status, Ended: f.Ended}
}

// status reads the answer of a status call. Its own Status speaks of the call and
// not of the request; that is done only with a listed ShareStatus and no
// ErrorMessage, and an unlisted one is never success. n is how many rows went in the
// request.
func (p *Provider) status(f finding, n int) crm.Outcome {
	r := f.reply
	o := crm.Outcome{Status: crm.Accepted, HTTPStatus: f.Status, Message: p.redact.Clean(r.says())}
	code, err := strconv.Atoi(string(r.ShareStatus))
	switch {
	case r.ShareStatus == "":
		o.Code = crm.CodeStatusMissing
	case err != nil:
		o.Code = crm.CodeStatusUnreadable
	default:
		o.Code = crm.CodeStatus + strconv.Itoa(code)
	}
	switch {
	case !r.succeeded():
		// The call did not say that it worked: nothing in it is believed.
	case r.ErrorMessage != "":
		o.Status, o.Message = crm.Failed, p.redact.Clean(string(r.ErrorMessage))
		if o.Uncertain = n > 1; o.Uncertain { // one of them may be the only one that failed
			o.Message += fmt.Sprintf(" (said of %d rows that went in one request; running again sends them one by one)", n)
		}
	case err != nil:
	case slices.Contains(p.cfg.FailureCodes, code):
		o.Status, o.Uncertain = crm.Failed, n > 1
	case slices.Contains(p.cfg.SuccessCodes, code):
		o.Status = crm.Done
	}
	return o
}
