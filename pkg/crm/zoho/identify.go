package zoho

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// Identify asks whose token it is and of which organisation. A yes is remembered for 24
// hours. Whether the user may share records of a module only the calls on that module tell: administrators
// always may, other profiles with a permission that no answer shows. The error is an
// *crm.AccountError, or what ended ctx.
func (p *Provider) Identify(ctx context.Context) (crm.Identity, error) {
	return p.store.Identity(number.MatchString, func() (crm.Identity, error) { return p.owner(ctx) })
}

// owner asks whose token it is.
func (p *Provider) owner(ctx context.Context) (crm.Identity, error) {
	got, err := p.users(ctx, 1, url.Values{"type": {"CurrentUser"}})
	if err != nil {
		return crm.Identity{}, p.noIdentity(ctx, err)
	}
	if len(got.users) != 1 || got.about.more() || !number.MatchString(string(got.users[0].ID)) {
		return crm.Identity{}, useless("the answer does not name one user")
	}
	u := got.users[0]
	id := crm.Identity{
		User: string(u.ID), Email: p.redact.String(string(u.Email)), Name: p.redact.Clean(string(u.FullName)),
	}
	if id.Org, err = p.organisation(ctx, id.User); err != nil {
		return crm.Identity{}, p.noIdentity(ctx, err)
	}
	return id, nil
}

// organisation returns the organisation's id. Reading it takes a scope of its own,
// which nothing else here needs: where it was not granted, the user stands for the
// organisation, to which every user id belongs. Another host than the configured
// one is that of a test environment, and counts as another organisation.
func (p *Provider) organisation(ctx context.Context, user string) (string, error) {
	f := p.read(ctx, verbRead, "", transport.Request{Op: "Org", Path: "/crm/" + p.dialect.version + "/org"})
	org := ""
	switch {
	case ctx.Err() != nil && f.Class != shown:
		return "", context.Cause(ctx)
	case f.Ended != nil:
		return "", f.Ended
	case f.Class == refused:
		org = "user " + user
	case f.Class != shown:
		return "", errors.New(f.Text)
	default:
		var got struct {
			Org once `json:"org"`
		}
		var orgs []struct {
			ID   text `json:"id"`
			ZGID text `json:"zgid"`
		}
		if json.Unmarshal(f.body, &got) != nil || json.Unmarshal(got.Org, &orgs) != nil || len(orgs) != 1 {
			return "", errors.New("the answer does not name one organisation")
		}
		if org = string(orgs[0].ID); org == "" {
			org = string(orgs[0].ZGID)
		}
		if org == "" {
			return "", errors.New("the answer does not name the organisation")
		}
	}
	if host := p.tokens.host(); host != p.configured.Host {
		org += " at " + host
	}
	return p.redact.Clean(org), nil
}

// noIdentity is the error where no answer of use says whose token it is.
func (p *Provider) noIdentity(ctx context.Context, err error) error {
	if end, ok := errors.AsType[*crm.AccountError](err); ok {
		return end
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if no, ok := errors.AsType[*refusal](err); ok {
		return &crm.AccountError{
			Code: crm.EndKeys,
			Err:  fmt.Errorf("the CRM does not tell whose token it is: %w", no),
			Hint: "Authorise the client again with the scopes ZohoCRM.share.all, ZohoCRM.users.READ and ZohoCRM.org.READ.",
		}
	}
	return useless(err.Error())
}

// useless ends an account whose host answers, but with nothing that can be used.
func useless(why string) error {
	return &crm.AccountError{
		Code: crm.EndUnreachable, Err: errors.New("whose token it is could not be found out: " + why),
		Hint: "Check the data centre or the API URL of the account, and whether ca_file is needed to trust its certificate.",
	}
}
