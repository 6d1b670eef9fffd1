package main

import (
	"cmp"
	"errors"
	"io/fs"
	"iter"
	"os"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// sandboxHost is what ledger and digest call the place that is a sandbox, whatever
// port it happens to listen on.
const sandboxHost = "sandbox"

// world is a sandbox inside this process.
type world struct {
	kinds   kinds // those that it stands in for
	server  *sandbox.Server
	base    string
	stop    func()
	journal string // "" keeps nothing
	created bool   // the journal was made by this run
}

// startWorld starts a sandbox on addr ("" for a free port of this machine). With a
// journal it goes on where the last one with that journal ended. With generous it gives
// out as many access tokens as it is asked for: no run remembers that of a sandbox inside
// another process, so that trying things out would stand still.
func startWorld(known kinds, addr, journal string, generous bool) (*world, error) {
	w := &world{kinds: known.inSandbox(), journal: journal}
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
	server, err := sandbox.New(sandboxConfig(journal, generous))
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

// seedAll tells the sandbox of rows.
func (w *world) seedAll(rows iter.Seq2[batch.Row, error]) error {
	for row, err := range rows {
		if err != nil {
			return err
		}
		w.seed(row)
	}
	return nil
}

// seed tells the sandbox of a good row, which makes a world in which the row is worth
// doing. The person of a row that gives both an id and an address becomes known by
// both; the other rows' people the sandbox knows by what they give. An object
// that is surely a slip of typing is not there.
func (w *world) seed(row batch.Row) {
	op := row.Op
	op.Object = w.kinds.seeded(op.Object)
	if op.Action != crm.RevokeAll {
		op.User = cmp.Or(op.User, row.Email)
	}
	w.server.Seed(op)
	if row.Op.User != "" && row.Email != "" {
		w.server.AddUser(crm.User{ID: row.Op.User, Email: row.Email, Active: true}, "")
	}
}

// accounts returns the accounts of a sandbox run, one of each CRM.
func (w *world) accounts(o *options) ([]*account, error) {
	var accounts []*account
	for _, k := range w.kinds {
		keys, variables := k.sandbox(w.base)
		a, err := newAccount(k, k.name, accountConfig{CRM: k.name, Keys: keys}, o)
		if err != nil {
			return nil, err
		}
		secrets := secretSource{lookup: func(name string) (string, bool) { return valueIn(variables)(name), true }}
		if a.endpoint, err = keys.open(k.name, secrets); err != nil {
			return nil, err
		}
		a.host, a.state = sandboxHost, k.name
		accounts = append(accounts, a)
	}
	return accounts, nil
}
