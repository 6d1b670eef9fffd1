package main

import (
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// zohoAccount is the provider of a Zoho account. The embedded one is replaced when
// the account is connected, and brings its abilities with it.
type zohoAccount struct {
	*zoho.Provider
	seen func(op crm.Operation) // told of every good row
}

// Check checks the row and tells who wants to know of good ones.
func (z *zohoAccount) Check(op crm.Operation) (crm.Operation, error) {
	checked, err := z.Provider.Check(op)
	if err == nil {
		z.seen(checked)
	}
	return checked, err
}

// openZoho reads an account's secrets and gives it a provider.
func openZoho(a *account, secrets secretSource) error {
	id := a.conf.ClientID
	if strings.HasPrefix(id, "env:") || strings.HasPrefix(id, "file:") {
		value, err := secrets.read("client_id", id)
		if err != nil {
			return err
		}
		id = value.Reveal()
	}
	secret, err := secrets.read("client_secret", a.conf.ClientSecret)
	if err != nil {
		return err
	}
	token, err := secrets.read("refresh_token", a.conf.RefreshToken)
	if err != nil {
		return err
	}
	if a.host, _, err = zoho.Hosts(a.conf.DC, a.conf.APIURL, a.conf.AccountsURL); err != nil {
		return refusef("", "%w", err)
	}
	a.state = transport.StoreName(a.host, token)
	return useZoho(a, func(crm.Operation) { a.used = true }, zoho.Config{
		Account: a.name, DC: a.conf.DC, APIURL: a.conf.APIURL, AccountsURL: a.conf.AccountsURL, Version: a.conf.Version,
		ClientID: id, ClientSecret: secret, RefreshToken: token,
		Notify: a.conf.Notify, Composite: a.conf.Composite, VerifyAfter: time.Duration(a.conf.VerifyAfter),
	})
}

// useZoho gives the account a provider that checks rows, and tells seen of the good
// ones, until it is connected.
func useZoho(a *account, seen func(crm.Operation), cfg zoho.Config) error {
	gate, err := checkGate()
	if err != nil {
		return err
	}
	checks, err := zoho.New(cfg, transport.Config{Gate: gate}, nil)
	if err != nil {
		return refusef("", "%w", err)
	}
	z := &zohoAccount{Provider: checks, seen: seen}
	a.provider = z
	a.connect = func(tr transport.Config, store *transport.Store) error {
		p, err := zoho.New(cfg, tr, store)
		if err == nil {
			z.Provider = p
		}
		return err
	}
	return gate.Close()
}
