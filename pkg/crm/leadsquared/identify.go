package leadsquared

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// owner is the answer to whose keys these are.
type owner struct {
	ID           text
	Name         text
	Role         text
	EmailAddress text // may be null
	OrgID        text
	OrgShortCode text
	// LSQCommonServiceURLs holds the organisation's hosts. The names in it are not
	// documented, so its values are searched.
	LSQCommonServiceURLs any
}

// Identify asks whose keys these are, and says no where they can not do the work:
// only an administrator's keys may share, and only the host of the account's region
// serves them (this one call works from every host). A yes is remembered for 24
// hours. The error is an *crm.AccountError, or what ended ctx.
func (r *reader) Identify(ctx context.Context) (crm.Identity, error) {
	return r.store.Identity(isGUID, func() (crm.Identity, error) { return r.ask(ctx) })
}

// Clock returns what time it is for the CRM, by its last answer.
func (r *reader) Clock(ctx context.Context) (time.Time, error) {
	if _, answered := r.client.Clock(); !answered {
		if _, err := r.ask(ctx); err != nil {
			return time.Time{}, err
		}
	}
	now, _ := r.client.Clock()
	return now, nil
}

// ask asks whose keys these are.
func (r *reader) ask(ctx context.Context) (crm.Identity, error) {
	f := r.look(ctx, transport.Request{Op: "Authentication", Path: pathOwner})
	switch {
	case f.Ended != nil:
		return crm.Identity{}, f.Ended
	case ctx.Err() != nil:
		return crm.Identity{}, context.Cause(ctx)
	case f.Class != transport.Shown:
		return crm.Identity{}, useless(strings.TrimPrefix(f.Code+": "+f.Text, ": "))
	case f.Status != http.StatusOK || f.reply.ExceptionMessage != "" || f.reply.ErrorMessage != "":
		return crm.Identity{}, useless(fmt.Sprintf("HTTP %d with an answer that can not be relied on: %s", f.Status, f.reply.words()))
	}
	return r.owner(f.body)
}

// owner reads the answer and judges it.
func (r *reader) owner(body []byte) (crm.Identity, error) {
	var o owner
	if err := json.Unmarshal(transport.TrimJSON(body), &o); err != nil {
		return crm.Identity{}, useless("the answer can not be read")
	}
	user, ok := readGUID(string(o.ID))
	org := string(cmp.Or(o.OrgID, o.OrgShortCode))
	// The hosts that the CRM names are compared with ours, which may be a stand-in or a tunnel.
	ours, served := r.base.Hostname(), apiHosts(o.LSQCommonServiceURLs)
	right := strings.Join(served, " or ")
	switch {
	case !ok:
		return crm.Identity{}, useless("the answer names no user")
	case org == "":
		return crm.Identity{}, useless("the answer names no organisation")
	case !strings.EqualFold(string(o.Role), "Administrator"):
		return crm.Identity{}, &crm.AccountError{
			Code: crm.EndKeys,
			Err:  fmt.Errorf("the keys belong to a user whose role is %q", r.redact.Clean(string(o.Role))),
			Hint: "Entity sharing takes an administrator's keys only.",
		}
	case len(served) > 0 && !transport.Loopback(ours) && !slices.Contains(served, ours):
		return crm.Identity{}, &crm.AccountError{
			Code: crm.EndHost,
			Err:  fmt.Errorf("the organisation is served by %s, not by %s", right, ours),
			Hint: "Set the host of the account to " + right + ".",
		}
	}
	return crm.Identity{
		User: user, Org: r.redact.String(org),
		Email: r.redact.String(string(o.EmailAddress)), Name: r.redact.String(string(o.Name)),
		Role: r.redact.String(string(o.Role)), Shares: crm.Yes,
	}, nil
}

// apiHosts returns the API hosts among the texts of a JSON value, which are URLs or bare
// names, sorted, each once. API hosts are called api or api-<region>; the asynchronous
// gateway and the web hosts are called otherwise.
func apiHosts(v any) []string {
	var hosts []string
	switch v := v.(type) {
	case string:
		if v = strings.TrimSpace(v); !strings.Contains(v, "://") {
			v = "https://" + v
		}
		u, err := url.Parse(v)
		if err != nil {
			return nil
		}
		host := strings.ToLower(u.Hostname())
		first, _, dotted := strings.Cut(host, ".")
		if dotted && hostName.MatchString(host) && (first == "api" || strings.HasPrefix(first, "api-")) {
			hosts = append(hosts, host)
		}
	case []any:
		for _, e := range v {
			hosts = append(hosts, apiHosts(e)...)
		}
	case map[string]any:
		for _, e := range v {
			hosts = append(hosts, apiHosts(e)...)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// useless ends an account whose host answers, but with nothing that can be used.
func useless(why string) error {
	return &crm.AccountError{
		Code: crm.EndUnreachable, Err: errors.New("whose keys these are could not be found out: " + why),
		Hint: "Check that the host is that of the account's API, and whether ca_file is needed to trust its certificate.",
	}
}
