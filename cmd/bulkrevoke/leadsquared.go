package main

import (
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// leadSquaredAccount is the provider of a LeadSquared account. The embedded one is
// replaced when the account is connected, and brings its abilities with it.
type leadSquaredAccount struct {
	*leadsquared.Provider
	seen func(op crm.Operation) // told of every good row
}

// Check checks the row and tells who wants to know of good ones.
func (l *leadSquaredAccount) Check(op crm.Operation) (crm.Operation, error) {
	checked, err := l.Provider.Check(op)
	if err == nil {
		l.seen(checked)
	}
	return checked, err
}

// openLeadSquared reads an account's secrets and gives it a provider.
func openLeadSquared(a *account, secrets secretSource) error {
	access, err := secrets.read("access_key", a.conf.AccessKey)
	if err != nil {
		return err
	}
	secret, err := secrets.read("secret_key", a.conf.SecretKey)
	if err != nil {
		return err
	}
	if a.host, err = leadsquared.Host(a.conf.Host); err != nil {
		return refusef("", "%w", err)
	}
	a.state = transport.StoreName(a.host, access)
	revoke, _ := crm.ParseAccess(a.conf.RevokeAccess)
	return useLeadSquared(a, func(crm.Operation) { a.used = true }, leadsquared.Config{
		Host: a.conf.Host, AccessKey: access, SecretKey: secret, Query: a.conf.Auth == "query",
		MaxEntries: a.conf.MaxEntriesPerCall, MaxUsers: a.conf.MaxUsersPerCall, CallbackURL: a.conf.CallbackURL,
		RevokeAccess: revoke, SuccessCodes: a.conf.SuccessCodes, FailureCodes: a.conf.FailureCodes,
		RemoveUsersPath: a.conf.RemoveUsersPath,
	})
}

// useLeadSquared gives the account a provider that checks rows, and tells seen of
// the good ones, until it is connected.
func useLeadSquared(a *account, seen func(crm.Operation), cfg leadsquared.Config) error {
	gate, err := checkGate()
	if err != nil {
		return err
	}
	checks, err := leadsquared.New(cfg, transport.Config{Gate: gate}, nil)
	if err != nil {
		return refusef("", "%w", err)
	}
	l := &leadSquaredAccount{Provider: checks, seen: seen}
	a.provider = l
	a.connect = func(tr transport.Config, store *transport.Store) error {
		p, err := leadsquared.New(cfg, tr, store)
		if err == nil {
			l.Provider = p
		}
		return err
	}
	return gate.Close()
}
