package leadsquared

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// The paths that are read, but for the status of a request.
const (
	pathOwner   = "/v2/Authentication.svc/UserByAccessKey.Get"
	pathUsers   = "/v2/UserManagement.svc/Users.Get"
	pathGroups  = "/v2/UserGroup.svc/Retrieve"
	pathMembers = "/v2/UserGroup.svc/RetrieveUsers"
)

// reads is what reading takes of a client: no more than a *transport.Reader has, which can
// change nothing.
type reads interface {
	Read(ctx context.Context, req transport.Request) (*transport.Response, error)
	Clock() (now time.Time, answered bool)
}

var _, _ reads = (*transport.Client)(nil), (*transport.Reader)(nil)

// reader is the reading half of an account, which a Provider and a Finder have in common.
type reader struct {
	cfg    Config
	base   *url.URL
	client reads
	redact *transport.Redactor
	store  *transport.Store // nil: nothing is remembered
}

// connect returns the reading half of an account, and a client of it. It is to read through
// that client, or a part of it.
func (c Config) connect(tr transport.Config, store *transport.Store) (*reader, *transport.Client, error) {
	cfg, u, err := c.checked()
	if err != nil {
		return nil, nil, err
	}
	tr.Base, tr.Inspect, tr.Authorize = u, inspect, authorizer(cfg)
	tr.Redact = transport.NewRedactor(cfg.AccessKey, cfg.SecretKey)
	client, err := transport.New(tr)
	return &reader{cfg: cfg, base: u, redact: tr.Redact, store: store}, client, err
}

// look sends a request that changes nothing and classifies the last answer.
func (r *reader) look(ctx context.Context, req transport.Request) finding {
	req.Method = http.MethodGet
	resp, err := r.client.Read(ctx, req)
	return r.clean(classify(kindLook, resp, err))
}

// clean takes secrets out of a finding's texts and bounds them. An Id that repeats one of
// the keys would carry it into tickets and results; a key that is too short to be told
// from an Id is let be.
func (r *reader) clean(f finding) finding {
	f.Finding = f.Clean(r.redact)
	for _, key := range []transport.Secret{r.cfg.AccessKey, r.cfg.SecretKey} {
		if k := key.Reveal(); f.Class == transport.Accepted && len(k) >= 8 && strings.Contains(f.id, k) {
			f = finding{Finding: transport.Finding{Code: crm.CodeNoAnswer, Text: "an answer that repeats the account's keys", Status: f.Status, Attempted: f.Attempted}}
		}
	}
	return f
}
