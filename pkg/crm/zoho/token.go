package zoho

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// tokenName is what the store knows the access token by. Zoho gives out ten in ten
	// minutes, so that a run which is started again and again must not need a new one
	// each time.
	tokenName = "access_token"
	// renewBefore is how long before its end a token is replaced, so that it does not
	// end on the way.
	renewBefore = time.Minute
	// usualLife is that of a token whose reply does not say.
	usualLife = time.Hour
)

// tokens holds the account's access token. There is one at a time, and at most one
// request for a new one.
type tokens struct {
	clientID   string
	secret     transport.Secret
	url        string // of the token service
	configured *url.URL
	redact     *transport.Redactor
	store      *transport.Store
	client     reads // through whose gate it asks

	// Whoever holds the one place in flight may get a token, and has what follows.
	flight  chan struct{}
	refresh transport.Secret
	grant   transport.Secret // to be traded for the refresh token; empty without
	asked   bool             // the store was asked

	mu    sync.Mutex // guards what follows
	now   accessToken
	ended *crm.AccountError // no token will ever come
}

// accessToken is a token and the host that it is for.
type accessToken struct {
	secret transport.Secret
	api    *url.URL
	until  time.Time // when to replace it
	number int       // counts the tokens of this process
	worked bool      // a request was answered with it, perhaps in an earlier run
}

// rememberedToken is what lies in the store.
type rememberedToken struct {
	Access string    `json:"access"`
	API    string    `json:"api"`
	Until  time.Time `json:"until"`
}

// authorize adds the token to a request, and sends it to the host that the token is
// for, which may be that of a test environment.
func (t *tokens) authorize(ctx context.Context, r *http.Request) error {
	a, err := t.ready(ctx)
	if err != nil {
		return err
	}
	r.URL.Scheme, r.URL.Host, r.Host = a.api.Scheme, a.api.Host, a.api.Host
	r.Header.Set("Authorization", "Zoho-oauthtoken "+a.secret.Reveal())
	return nil
}

// ready returns the token, when there is one: that of this process, that of an earlier
// run, which is asked for once, or a new one. The error is an *crm.AccountError where
// there will be none in this run.
func (t *tokens) ready(ctx context.Context) (accessToken, error) {
	if a, ok, err := t.current(); ok || err != nil {
		return a, err
	}
	select {
	case t.flight <- struct{}{}:
		defer func() { <-t.flight }()
	case <-ctx.Done():
		return accessToken{}, context.Cause(ctx)
	}
	a, ok, err := t.current()
	if ok || err != nil {
		return a, err
	}
	if !t.grant.IsZero() {
		a, err = t.trade(ctx)
	} else if a, ok = t.recall(); !ok {
		a, err = t.renew(ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.ended, _ = errors.AsType[*crm.AccountError](err)
		return accessToken{}, err
	}
	t.redact.Add(a.secret)
	a.number = t.now.number + 1
	t.now = a
	return a, nil
}

// current returns the token that there is.
func (t *tokens) current() (a accessToken, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		return a, false, t.ended
	}
	return t.now, !t.now.secret.IsZero() && time.Now().Before(t.now.until), nil
}

// host is the API host that requests go to now.
func (t *tokens) host() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.api == nil {
		return t.configured.Host
	}
	return t.now.api.Host
}

// worked notes that the CRM has answered a request with the token.
func (t *tokens) worked(used accessToken) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.number == used.number {
		t.now.worked = true
	}
}

// drop forgets a token that the CRM refused. It returns false if another one would
// be refused too: this one is new and has never worked.
func (t *tokens) drop(used accessToken) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.number != used.number || t.now.secret.IsZero() {
		return true // replaced already
	}
	t.now.secret = transport.Secret{}
	t.store.Forget(tokenName)
	return t.now.worked
}

// recall returns the token of an earlier run, once. Its host is judged like that of a
// new one.
func (t *tokens) recall() (a accessToken, ok bool) {
	var old rememberedToken
	if t.asked || !t.store.Recall(tokenName, &old) {
		t.asked = true
		return a, false
	}
	t.asked = true
	api, err := apiDomain(old.API, t.configured)
	left := time.Until(old.Until)
	return accessToken{secret: transport.NewSecret(old.Access), api: api, until: old.Until, worked: true},
		err == nil && old.Access != "" && left > 0 && left <= 24*time.Hour
}

// renew asks for a new token until one comes, or none will. A refusal because of
// too many tokens pauses the account's gate, which the next request waits for.
func (t *tokens) renew(ctx context.Context) (accessToken, error) {
	for failed := 0; ; {
		tok, err := t.fetch(ctx)
		if err == nil {
			return t.take(tok)
		}
		err = judgeGrant(err)
		end, over := errors.AsType[*crm.AccountError](err)
		switch {
		case over:
			return accessToken{}, transport.Over(end).Clean(t.redact).Ended
		case ctx.Err() != nil:
			return accessToken{}, context.Cause(ctx)
		case errors.Is(err, errTokenThrottle):
			continue
		}
		if failed++; failed >= mostReads || !t.client.Backoff(ctx, failed) {
			return accessToken{}, errors.New(t.redact.Clean(err.Error()))
		}
	}
}

// fetch asks once. The parameters go in the form body, which is logged nowhere.
func (t *tokens) fetch(ctx context.Context) (*oauth2.Token, error) {
	ctx, conf := t.service(ctx)
	return conf.TokenSource(ctx, &oauth2.Token{RefreshToken: t.refresh.Reveal()}).Token()
}

// service returns how to ask the token service, through the account's gate.
func (t *tokens) service(ctx context.Context) (context.Context, *oauth2.Config) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     plainJSON{t.client.RoundTripper("Token")},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	return ctx, &oauth2.Config{
		ClientID: t.clientID, ClientSecret: t.secret.Reveal(),
		Endpoint: oauth2.Endpoint{TokenURL: t.url, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// take reads a new token and remembers it.
func (t *tokens) take(tok *oauth2.Token) (accessToken, error) {
	named, _ := tok.Extra("api_domain").(string)
	api, err := apiDomain(named, t.configured)
	if err != nil {
		return accessToken{}, &crm.AccountError{
			Code: crm.EndHost, Err: err,
			Hint: "If this host is right, set it as the API URL of the account.",
		}
	}
	if tok.RefreshToken != "" && tok.RefreshToken != t.refresh.Reveal() {
		t.refresh = transport.NewSecret(tok.RefreshToken)
		t.redact.Add(t.refresh)
	}
	lasts := life(tok)
	until := time.Now().Add(lasts - min(renewBefore, lasts/2))
	// Forgetting it costs one more token in the next run, no more.
	_ = t.store.Remember(tokenName, rememberedToken{tok.AccessToken, api.String(), until}, until)
	return accessToken{secret: transport.NewSecret(tok.AccessToken), api: api, until: until}, nil
}

// AskAgain has the account of a store ask for a new access token, so that its keys are put
// to the test, unless it has asked within the last two minutes: Zoho gives out ten in ten
// minutes.
func AskAgain(store *transport.Store) {
	var old rememberedToken
	if store.Recall(tokenName, &old) && time.Until(old.Until) < usualLife-renewBefore-2*time.Minute {
		store.Forget(tokenName)
	}
}

// life is how long a token lives. In the legacy form expires_in_sec has the
// seconds, and expires_in milliseconds.
func life(tok *oauth2.Token) time.Duration {
	seconds := float64(tok.ExpiresIn)
	if s, ok := tok.Extra("expires_in_sec").(float64); ok && s > 0 {
		seconds = s
	}
	if seconds > 24*60*60 {
		seconds /= 1000
	}
	if seconds <= 0 {
		return usualLife
	}
	return time.Duration(seconds * float64(time.Second))
}

// errTokenThrottle: too many tokens; the gate is paused.
var errTokenThrottle = errors.New("too many access tokens")

// judgeGrant decides what a failed request for a token means: an *crm.AccountError, which
// says which of the three values is at fault, errTokenThrottle, or that nothing of use came
// and another try may help. It is pure. The token service answers most errors with HTTP 200.
func judgeGrant(err error) error {
	if end, ok := errors.AsType[*crm.AccountError](err); ok {
		return end
	}
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // its text has the whole URL
		}
		return fmt.Errorf("get an access token: %w", err)
	}
	status := 0
	if re.Response != nil {
		status = re.Response.StatusCode
	}
	switch {
	case limited(status, &reply{Error: text(re.ErrorCode), Description: text(re.ErrorDescription)}, true):
		return errTokenThrottle
	case status >= 500 || status == http.StatusRequestTimeout:
		return fmt.Errorf("get an access token: HTTP %d", status)
	}
	end := &crm.AccountError{Code: crm.EndKeys}
	switch re.ErrorCode {
	case "invalid_code":
		end.Err = errors.New("the token service refuses the refresh token (invalid_code)")
		end.Hint = "The refresh token is wrong, revoked, or of another data centre than the account's."
	case "invalid_client":
		end.Err = errors.New("the token service refuses the client id (invalid_client)")
		end.Hint = "The client id is wrong, or of another data centre, or the client is not enabled for several data centres."
	case "invalid_client_secret":
		end.Err = errors.New("the token service refuses the client secret (invalid_client_secret)")
		end.Hint = "The client secret is wrong; a client has another one in each data centre."
	case "":
		end.Err = fmt.Errorf("the token service answers HTTP %d", status)
		if status == http.StatusNotFound {
			end.Code = crm.EndHost
		}
		end.Hint = "Check the data centre or the accounts URL of the account."
	default:
		end.Err = fmt.Errorf("the token service refuses: %s %s", re.ErrorCode, re.ErrorDescription)
		end.Hint = "Check client id, client secret and refresh token, and that all three are of the account's data centre."
	}
	return end
}

// plainJSON lets a JSON reply be read as what it is, whatever it calls itself: as
// plain text it would be read as a query string.
type plainJSON struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (p plainJSON) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body) // the next one has capped it
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the token reply: %w", err)
	}
	body = transport.TrimJSON(body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if bytes.HasPrefix(body, []byte("{")) {
		resp.Header = resp.Header.Clone()
		resp.Header.Set("Content-Type", "application/json")
	}
	return resp, nil
}
