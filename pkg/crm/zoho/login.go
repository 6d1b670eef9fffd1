package zoho

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// Scopes returns the scopes that an account needs, as the vendor's console takes them.
func Scopes(composite bool) string {
	scopes := []string{"ZohoCRM.share.all", scopeUsers, scopeOrg}
	if composite {
		scopes = append(scopes, scopeComposite)
	}
	return strings.Join(scopes, ",")
}

// FindScopes are those that a finder needs beside Scopes, as the vendor's console takes them.
func FindScopes() string {
	return strings.Join([]string{"ZohoCRM.coql.READ", "ZohoCRM.modules.READ", scopeModules, scopeDataSharing, "ZohoCRM.settings.user_groups.READ"}, ",")
}

// Console returns the address of the vendor's console in which clients of the token service
// are made, "" where the token service is not one of the vendor's.
func Console(dc, apiURL, accountsURL string) string {
	_, accounts, err := endpoints(dc, apiURL, accountsURL)
	if err != nil {
		return ""
	}
	for _, d := range datacenters() {
		if rest, ok := strings.CutPrefix(d.accounts, "accounts."); ok && d.accounts == accounts.Host {
			return "https://api-console." + rest
		}
	}
	return ""
}

// RefreshToken returns the refresh token that the account works with: where a grant token
// was given, the one that it was traded for, or an empty one while it was not.
func (p *Provider) RefreshToken() transport.Secret {
	p.tokens.flight <- struct{}{}
	defer func() { <-p.tokens.flight }()
	return p.tokens.refresh
}

// trade trades the grant token for a refresh token, and an access token with it. It asks
// once: a grant token is good once, whether the answer arrives or not, and lives for
// minutes. The error is an *crm.AccountError, or what ended ctx.
func (t *tokens) trade(ctx context.Context) (accessToken, error) {
	service, conf := t.service(ctx)
	tok, err := conf.Exchange(service, t.grant.Reveal())
	if err != nil {
		if ctx.Err() != nil {
			return accessToken{}, context.Cause(ctx)
		}
		accounts := t.url
		if u, err := url.Parse(t.url); err == nil {
			accounts = u.Host
		}
		return accessToken{}, transport.Over(judgeTrade(err, accounts)).Clean(t.redact).Ended
	}
	if tok.RefreshToken == "" {
		return accessToken{}, &crm.AccountError{
			Code: crm.EndKeys, Err: errors.New("the token service gives an access token and no refresh token"),
			Hint: "Make the grant token under Self Client in the console; the clients of other kinds get a refresh token once only.",
		}
	}
	a, err := t.take(tok)
	if err == nil {
		t.grant = transport.Secret{}
	}
	return a, err
}

// judgeTrade decides what a failed trade of a grant token at the token service of that host
// means. It is pure.
func judgeTrade(err error, accounts string) *crm.AccountError {
	judged := judgeGrant(err)
	end, over := errors.AsType[*crm.AccountError](judged)
	failed, unanswered := errors.AsType[*transport.Error](err)
	code := ""
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		code = refusal.ErrorCode
	}
	switch {
	case over && code == "invalid_code":
		return &crm.AccountError{
			Code: crm.EndKeys, Err: fmt.Errorf("the token service %s refuses the grant token (invalid_code)", accounts),
			Hint: "A grant token is good once, for the minutes that were chosen for it, and in its own data centre. " +
				"Make a new one in the console of the account's data centre, and log in at once.",
		}
	case over && code == "invalid_client":
		return &crm.AccountError{
			Code: crm.EndKeys, Err: fmt.Errorf("the token service %s does not know the client id (invalid_client)", accounts),
			Hint: "The client id is wrong, or its client was made in another data centre: the address of your CRM ends as its data centre does, .eu for eu.",
		}
	case over:
		return end
	case errors.Is(judged, errTokenThrottle):
		return &crm.AccountError{
			Code: crm.EndQuota, Err: fmt.Errorf("the token service %s has given out too many tokens within %s", accounts, minutes(tokenWindow)),
			Hint: fmt.Sprintf("Wait %s, then make a new grant token and log in again.", minutes(tokenWindow)),
		}
	case unanswered && !failed.Sent:
		return &crm.AccountError{
			Code: crm.EndUnreachable, Err: fmt.Errorf("the token service %s can not be reached: %w", accounts, failed.Err),
			Hint: "Check the data centre, the network and the proxy. The grant token was not used: it is good for the rest of its minutes.",
		}
	}
	return &crm.AccountError{
		Code: crm.EndUnreachable, Err: fmt.Errorf("no answer of use from the token service %s: %w", accounts, judged),
		Hint: "The grant token may be used up. Make a new one and log in again.",
	}
}

// minutes writes a time span in whole minutes.
func minutes(d time.Duration) string { return fmt.Sprintf("%d minutes", int(d.Minutes())) }
