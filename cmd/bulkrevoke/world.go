package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// sandboxHost is what ledger and digest call the place that is a sandbox, whatever
// port it happens to listen on.
const sandboxHost = "sandbox"

// processing is how long a sandbox takes over a change: long enough to see that
// accepted is not done, short enough to wait for.
const processing = 200 * time.Millisecond

// world is a sandbox inside this process.
type world struct {
	server  *sandbox.Server
	base    string
	stop    func()
	journal string // "" keeps nothing
	created bool   // the journal was made by this run
}

// startWorld starts a sandbox on addr ("" for a free port of this machine). With a
// journal it goes on where the last one with that journal ended. tokens is how many
// access tokens Zoho gives out in ten minutes: no run remembers that of a sandbox
// inside another process, so that trying things out would stand still after ten.
func startWorld(addr, journal string, tokens int) (*world, error) {
	w := &world{journal: journal}
	if journal != "" {
		info, err := os.Lstat(journal)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			w.created = true
		case err != nil:
			return nil, refusef("", "sandbox: %w", err)
		case !info.Mode().IsRegular():
			return nil, refusef("", "sandbox: %s is not a regular file", journal)
		}
	}
	server, err := sandbox.New(sandbox.Config{
		Processing: func() time.Duration { return processing },
		Journal:    journal,
		Zoho:       sandbox.ZohoConfig{TokenLimit: tokens},
	})
	if err != nil {
		return nil, refusef("", "sandbox: %w", err)
	}
	w.server = server
	if w.base, w.stop, err = sandbox.Listen(addr, server); err != nil {
		return nil, errors.Join(refusef("", "sandbox: %w", err), server.Close())
	}
	return w, nil
}

// close stops the sandbox. Its journal stays.
func (w *world) close() error {
	w.stop()
	return w.server.Close()
}

// forget removes a journal that this run made.
func (w *world) forget() error {
	if w.journal == "" || !w.created {
		return nil
	}
	return removeIfThere(w.journal)
}

// seed tells the sandbox of a good row, which makes a world in which the row is worth
// doing. The person of a row that gives both an id and an address becomes known by
// both; the other rows' people the sandbox knows by what they give. A module that is
// nearly called as an object of LeadSquared is not there.
func (w *world) seed(row batch.Row) {
	op := row.Op
	op.Object = meantModule(op.Object)
	if op.Action != crm.RevokeAll {
		op.User = cmp.Or(op.User, row.Email)
	}
	w.server.Seed(op)
	if row.Op.User != "" && row.Email != "" {
		w.server.AddUser(crm.User{ID: row.Op.User, Email: row.Email, Active: true}, "")
	}
}

// isSandboxAccount says whether a sandbox has an account of that name.
func isSandboxAccount(name string) bool {
	return strings.EqualFold(name, crmLeadSquared) || strings.EqualFold(name, crmZoho)
}

// accounts returns the accounts of a sandbox run, one of each CRM.
func (w *world) accounts(o *options) ([]*account, error) {
	use := func(a *account) func(crm.Operation) {
		return func(crm.Operation) { a.used = true }
	}
	lsq, err := newAccount(crmLeadSquared, accountConfig{CRM: crmLeadSquared}, o)
	if err != nil {
		return nil, err
	}
	lsq.host, lsq.state = sandboxHost, crmLeadSquared
	err = useLeadSquared(lsq, use(lsq), leadsquared.Config{
		Host: w.base, AccessKey: transport.NewSecret("sandbox-access-key"), SecretKey: transport.NewSecret("sandbox-secret-key"),
	})
	if err != nil {
		return nil, err
	}
	zo, err := newAccount(crmZoho, accountConfig{CRM: crmZoho}, o)
	if err != nil {
		return nil, err
	}
	zo.host, zo.state = sandboxHost, crmZoho
	err = useZoho(zo, use(zo), zoho.Config{
		APIURL: w.base, AccountsURL: w.base, ClientID: "sandbox-client", VerifyAfter: 2 * processing,
		ClientSecret: transport.NewSecret("sandbox-client-secret"), RefreshToken: transport.NewSecret("sandbox-refresh-token"),
	})
	return []*account{lsq, zo}, err
}
