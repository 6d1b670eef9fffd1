package find

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// given is what an earlier ledger gave to somebody and, as far as it knows, nobody took.
type given struct {
	op   crm.Operation
	note string
	at   time.Time // when it was sent
}

// standing works out, from all that was tried on a record, what users have of it by what
// was given to them there. The history is in its order. It is pure.
func standing(history []tried, now time.Time) []given {
	type place struct{ context, user string }
	has := make(map[place]*given)
	for _, t := range history {
		took, maybe := effect(t.Tried)
		if !took && !maybe {
			continue
		}
		at := place{t.Op.Context, t.Op.User}
		switch {
		case t.Op.Action == crm.Share && took:
			g := &given{op: t.Op, at: t.at, note: "given by " + t.file}
			switch {
			case t.Status == crm.Accepted:
				g.note = crm.Join(g.note, "accepted by the CRM, and never confirmed")
			case t.Op.Minutes == 0 && t.Op.Context != "":
				g.note = crm.Join(g.note, "it may have ended by itself: how long it lasts is the account's to say")
			}
			if t.Op.Minutes > 0 && !t.SentAt.IsZero() {
				end := t.SentAt.Add(time.Duration(t.Op.Minutes) * time.Minute)
				if !end.After(now) {
					delete(has, at) // it has ended by itself
					continue
				}
				g.note = crm.Join(g.note, "it ends by itself at "+end.UTC().Format(time.RFC3339))
			}
			has[at] = g
		case t.Op.Action == crm.Share:
			if g := has[at]; g != nil {
				g.note = crm.Join(g.note, "a later share of it is in doubt")
			} else {
				has[at] = &given{op: t.Op, at: t.at, note: "in doubt: " + t.file + " says that the share was sent, and no answer says what became of it"}
			}
		case t.Op.Action == crm.Revoke && took:
			delete(has, at)
		case t.Op.Action == crm.Revoke:
			if g := has[at]; g != nil {
				g.note = crm.Join(g.note, "in doubt: a later revoke has no outcome that is known")
			}
		case t.Op.Action == crm.RevokeAll && took:
			clear(has)
		case t.Op.Action == crm.RevokeAll:
			for _, g := range has {
				g.note = crm.Join(g.note, "in doubt: a later revoke_all has no outcome that is known")
			}
		}
	}
	var all []given
	for _, g := range has {
		all = append(all, *g)
	}
	slices.SortFunc(all, func(a, b given) int { return compareOps(a.op, b.op) })
	return all
}

// effect says whether an operation has taken effect, as far as its ledger knows, and
// whether it may have. A revoke that was only accepted may have.
func effect(t ledger.Tried) (took, maybe bool) {
	switch t.Status {
	case crm.Done, crm.Unchanged:
		return true, false
	case crm.Accepted:
		return t.Op.Action == crm.Share, true
	case crm.Sent, crm.Uncertain:
		return false, true
	case crm.Failed:
		return t.Happened, t.Uncertain
	}
	return false, t.Uncertain
}

func compareOps(a, b crm.Operation) int {
	return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Record, b.Record), cmp.Compare(a.User, b.User), cmp.Compare(a.Context, b.Context))
}

// readLedgers reads what the ledgers gave to the people who are asked about. A ledger that
// can not be read is told of in the coverage of every account.
func (f *Find) readLedgers(ctx context.Context) error {
	for _, path := range f.opts.Ledgers {
		err := f.readLedger(ctx, path)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, a := range f.accounts {
			a.ledgers.files++
			if err != nil {
				a.ledgers.unread = append(a.ledgers.unread, fmt.Sprintf("%s: %s", filepath.Base(path), err))
			}
		}
	}
	for _, a := range f.accounts {
		a.ledgers.work(f.opts.Now())
	}
	return nil
}

func (f *Find) readLedger(ctx context.Context, path string) (err error) {
	led, err := ledger.Open(path, ledger.Options{ReadOnly: true})
	if err != nil {
		return plainLedgerError(err)
	}
	defer func() { err = errors.Join(err, led.Close()) }()
	bindings, err := led.Bindings(ctx)
	if err != nil {
		return plainLedgerError(err)
	}
	ours := make(map[string]*account) // by the ledger's name of it
	for _, b := range bindings {
		for _, a := range f.accounts {
			if a.identity.Org != "" && b.CRM == a.CRM && b.Host == a.Host && b.Org == a.identity.Org {
				ours[b.Account] = a
				break
			}
		}
	}
	if len(ours) == 0 {
		return nil
	}
	// The history of a record is in its order; what has no time happened after what is before
	// it.
	var record crm.Target
	var last time.Time
	for t, err := range led.History(ctx) {
		if err != nil {
			return plainLedgerError(err)
		}
		a := ours[t.Account]
		if a == nil {
			continue
		}
		if whole := t.Op.Target().Whole(); whole != record {
			record, last = whole, time.Time{}
		}
		if at := cmp.Or(t.SentAt, t.ConfirmedAt); at.After(last) {
			last = at
		}
		if a.wanted[foldID(t.Op.User)] || t.Op.Action == crm.RevokeAll {
			a.ledgers.add(tried{t, last, filepath.Base(path)})
		}
	}
	return nil
}

// plainLedgerError says in plain words why a ledger can not be read.
func plainLedgerError(err error) error {
	for _, known := range []struct {
		err  error
		says string
	}{
		{ledger.ErrForeign, "it is no ledger"}, {ledger.ErrNewer, "a newer bulkrevoke wrote it"}, {ledger.ErrDamaged, "it is damaged"},
		{ledger.ErrBusy, "another program holds it"}, {ledger.ErrReadOnly, "an older bulkrevoke wrote it: `bulkrevoke verify` of its sheet does not need it, `bulkrevoke run` brings it up to date"},
	} {
		if errors.Is(err, known.err) {
			return errors.New(known.says)
		}
	}
	return err
}

// tried is an operation of a ledger's history, and when it happened.
type tried struct {
	ledger.Tried
	at   time.Time
	file string
}

// givenList is what all ledgers gave on one account.
type givenList struct {
	files   int
	unread  []string // why ledgers could not be read
	history map[crm.RecordID][]tried
	all     []given
	by      map[crm.RecordID]bool // the records of all
	looked  map[crm.RecordID]bool // of these, those that this find has looked at
}

func (l *givenList) add(t tried) {
	if l.history == nil {
		l.history = make(map[crm.RecordID][]tried)
	}
	id := crm.RecordID{Object: t.Op.Object, Record: t.Op.Record}
	l.history[id] = append(l.history[id], t)
}

// work works out what stands of all that was given: a later ledger may have taken what an
// earlier one gave.
func (l *givenList) work(now time.Time) {
	l.by, l.looked = make(map[crm.RecordID]bool), make(map[crm.RecordID]bool)
	for id, history := range l.history {
		slices.SortStableFunc(history, func(a, b tried) int { return a.at.Compare(b.at) })
		if all := standing(history, now); len(all) > 0 {
			l.all, l.by[id] = append(l.all, all...), true
		}
	}
	l.history = nil
	slices.SortFunc(l.all, func(a, b given) int { return compareOps(a.op, b.op) })
}
