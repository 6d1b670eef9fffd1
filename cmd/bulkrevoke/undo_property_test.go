package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// standing is everything that is in force in a sandbox, a line each, but for what
// is to be left out.
func standing(s *sandbox.Server, without map[crm.Target]bool) []string {
	var lines []string
	for key, grants := range s.Records() {
		for _, g := range grants {
			lines = append(lines, fmt.Sprintf("%s %s %s %v %t %s %s", key, g.Kind, g.ID, g.Access, g.Related, g.Type, g.Through))
		}
	}
	for _, share := range s.Shares() {
		if without[crm.Target{Object: share.Object, Record: share.Record, Context: share.Context, User: share.User}] {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s %v %v", share.Object, share.Record, share.Context, share.User, share.Access, share.Permissions))
	}
	slices.Sort(lines)
	return lines
}

// undone writes the undo sheet of the engine's ledger, and what it leaves.
func (e *engine) undone() (text string, left []string) {
	e.t.Helper()
	path := filepath.Join(e.t.TempDir(), "undo.csv")
	counts, err := report.WriteUndo(e.t.Context(), e.led, path, func(row batch.UndoRow) { left = append(left, row.Left) })
	if err != nil {
		e.t.Fatal(err)
	}
	if counts.Rows == 0 {
		return "", left
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(raw), left
}

// newLedger gives the engine another, empty ledger.
func (e *engine) newLedger() {
	e.t.Helper()
	led, err := ledger.Open(e.t.TempDir()+"/other.ledger.db", ledger.Options{Create: true})
	if err != nil {
		e.t.Fatal(err)
	}
	old := e.led
	e.t.Cleanup(func() {
		if err := old.Close(); err != nil {
			e.t.Error(err)
		}
	})
	e.led = led // which newEngine closes
}

// second is another night's sheet over the same world: some rows are gone, some are
// new, some ask for something else.
func (m *mixed) second() {
	first := m.rows
	m.rows = nil
	for _, r := range first {
		switch m.rng.IntN(6) {
		case 0:
		case 1:
			if r.op.Action == crm.Share && r.op.Object == "Quotes" {
				r.op.Access = crm.Read + crm.Access(m.rng.IntN(3))
			}
			m.rows = append(m.rows, r)
		case 2:
			m.rows = append(m.rows, r)
			if r.op.Object == "Quotes" && r.op.Action != crm.RevokeAll {
				r.op.Action, r.op.Access, r.op.Related = crm.Share, crm.Write, crm.Choice(m.rng.IntN(3))
				m.rows = append(m.rows, r)
			}
		case 3:
			m.rows = append(m.rows, r)
			if r.op.Object == "Quotes" && m.rng.IntN(4) == 0 {
				all := crm.Operation{Action: crm.RevokeAll, Object: r.op.Object, Record: r.op.Record}
				m.rows = append(m.rows, mixedRow{op: all})
			}
		default:
			m.rows = append(m.rows, r)
		}
	}
	m.rng.Shuffle(len(m.rows), func(i, j int) { m.rows[i], m.rows[j] = m.rows[j], m.rows[i] })
}

// Whatever two nights' sheets have done over both CRMs, running the undo sheet of
// their ledger leaves the CRMs exactly as they were before the first, but for what
// it says that no sheet can put back, and for leads and opportunities that were
// shared first.
func TestUndoPutsEverythingBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMixed(rand.New(rand.NewPCG(seed, 77)), 40)
				delay := func() time.Duration { return time.Duration(rand.Int64N(int64(2 * time.Second))) }
				e := newEngine(t, sandbox.Config{Processing: delay, ShowAllPermissions: true},
					transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				e.addZoho()
				unknown := make(map[crm.Target]bool)
				m.sharedFirst(unknown)
				m.withoutGroups(seed%2 == 0)
				first := m.rows
				m.second()
				second := m.rows
				m.sharedFirst(unknown)
				m.withoutGroups(seed%2 == 0)
				m.seed(e.server)
				m.rows = first
				before := standing(e.server, unknown)
				e.firstNight(m, seed)
				m.rows = second
				e.run(t.Context(), m.sheet())
				if cmp.Equal(before, standing(e.server, unknown)) {
					t.Fatal("the sheets have changed nothing")
				}
				text, left := e.undone()
				for _, what := range left {
					if !strings.Contains(what, "group "+zohoUser(900)) {
						t.Errorf("left: %s", what)
					}
				}
				if seed%2 == 0 && len(left) > 0 {
					t.Errorf("%d things are left, though no group lost anything", len(left))
				}
				e.newLedger()
				s := e.run(t.Context(), text)
				if s.Counts.Done+s.Counts.Unchanged != s.Counts.Rows {
					for r, err := range e.led.Results(t.Context()) {
						if err == nil && r.Status != crm.Done {
							t.Errorf("line %d %v: %v %s %s", r.Line, r.Op, r.Status, r.Code, r.Message)
						}
					}
				}
				if s.Counts.Unchanged > 0 && seed%3 != 1 {
					t.Errorf("%d rows of the undo sheet had nothing to put back", s.Counts.Unchanged)
				}
				want := slices.DeleteFunc(slices.Clone(before), func(line string) bool {
					return strings.Contains(line, " group ") && len(left) > 0 && !slices.Contains(standing(e.server, unknown), line)
				})
				if lost := len(before) - len(want); lost != len(left) {
					t.Errorf("%d groups have lost their record, and %d are told of", lost, len(left))
				}
				if diff := cmp.Diff(want, standing(e.server, unknown)); diff != "" {
					t.Errorf("after the undo (-before the first run +now):\n%s", diff)
				}
			})
		})
	}
}

// firstNight runs the sheet: undisturbed, with answers lost and requests refused, or
// cut off in the middle.
func (e *engine) firstNight(m *mixed, seed uint64) {
	e.t.Helper()
	ctx := e.t.Context()
	switch seed % 3 {
	case 1:
		kinds := []sandbox.FaultKind{sandbox.FaultResetAfter, sandbox.FaultResetBefore, sandbox.FaultEmpty500}
		for i, op := range []string{"Zoho.Share.Put", "Zoho.Share.Post", "Zoho.Share.Delete", "UserGroup.AddUsers", "UserGroup.RemoveUsers"} {
			for n := range 6 {
				e.server.Fault(sandbox.Fault{Op: op, Kind: kinds[(i+n)%len(kinds)], Processed: n%2 == 0, Times: 1, After: m.rng.IntN(6)})
			}
		}
	case 2:
		short, cancel := context.WithTimeout(ctx, time.Duration(8+m.rng.IntN(10))*time.Second)
		defer cancel()
		ctx = short
	}
	e.run(ctx, m.sheet())
	e.server.ClearFaults()
}

// sharedFirst marks the leads and opportunities whose first row is a share: whether
// the user had access before, nobody can know.
func (m *mixed) sharedFirst(marked map[crm.Target]bool) {
	met := make(map[crm.Target]bool)
	for _, r := range m.rows {
		at := r.op.Target()
		if !met[at] && (r.op.Object == crm.Lead || r.op.Object == crm.Opportunity) && r.op.Action == crm.Share {
			marked[at] = true
		}
		met[at] = true
	}
}

// withoutGroups takes Zoho's groups off the records that a revoke_all is about.
func (m *mixed) withoutGroups(really bool) {
	for key := range maps.Keys(m.grants) {
		whole := slices.ContainsFunc(m.rows, func(r mixedRow) bool {
			return r.op.Action == crm.RevokeAll && r.op.Object+"/"+r.op.Record == key
		})
		if really && whole {
			m.grants[key] = slices.DeleteFunc(m.grants[key], func(g crm.Grant) bool { return g.Kind != "user" })
		}
	}
}

// randomOperation draws an operation as it stands in a ledger.
func randomOperation(rng *rand.Rand, rules map[string]crm.Rules) (account string, op crm.Operation, ok bool) {
	n, user := 1+rng.IntN(4), 1+rng.IntN(4)
	op = crm.Operation{Action: crm.Revoke + crm.Action(rng.IntN(3)), Access: crm.Access(rng.IntN(4)), Minutes: rng.IntN(2) * 60}
	switch rng.IntN(4) {
	case 0:
		account, op.Object, op.Record, op.User, op.Context = "main", crm.Lead, fmt.Sprint(7000+n), guidOf('u', user), guidOf('c', n)
	case 1:
		account, op.Object, op.Record, op.User = "main", crm.Opportunity, guidOf('o', n), guidOf('u', user)
	case 2:
		account, op.Object, op.Record, op.User, op.Minutes = "main", crm.SalesGroup, guidOf('g', n), guidOf('u', user), 0
		op.Access, op.Permissions = crm.AccessUnset, crm.Permissions(rng.IntN(16))
	default:
		account, op.Object, op.Record, op.User, op.Minutes = "zoho", "Quotes", zohoRecord(n), zohoUser(user), 0
		op.Related = crm.Choice(rng.IntN(3))
	}
	if op.Action == crm.RevokeAll {
		op.User = ""
	}
	op, err := rules[account].Check(op)
	return account, op, err == nil
}

// randomLook draws what the CRM showed before a change: of leads and opportunities it
// shows nothing.
func randomLook(rng *rand.Rand, op crm.Operation) crm.State {
	if op.Object == crm.Lead || op.Object == crm.Opportunity || rng.IntN(4) == 0 {
		return crm.State{}
	}
	state := crm.State{Looked: true}
	for n := range rng.IntN(4) {
		g := crm.Grant{Kind: "user", ID: zohoUser(n + 1), Access: crm.Access(rng.IntN(4)), Related: rng.IntN(2) == 0}
		if op.Object == crm.SalesGroup {
			g = crm.Grant{Kind: "user", ID: guidOf('u', n+1), Permissions: crm.Permissions(rng.IntN(16))}
		} else if rng.IntN(4) == 0 {
			g.Kind = []string{"group", "role", "public"}[rng.IntN(3)]
		} else if rng.IntN(4) == 0 {
			g.Through = "Accounts/" + zohoRecord(50)
		}
		state.Grants = append(state.Grants, g)
	}
	return state
}

// Whatever a ledger holds, the rows of its undo sheet are taken by a run as they are:
// none of them is invalid.
func TestUndoRowsAreValidAsTheyAre(t *testing.T) {
	t.Parallel()
	written := 0
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 9))
		e := newEngine(t, sandbox.Config{}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
		e.addZoho()
		rules := make(map[string]crm.Rules)
		for _, acc := range e.opts.Accounts {
			rules[acc.Name] = acc.Provider
		}
		for range 1 + rng.IntN(3) {
			e.randomNight(rng, rules)
		}
		text, _ := e.undone()
		if text == "" {
			continue
		}
		written += strings.Count(text, "\n") - 1
		in, err := sheet.Open(strings.NewReader(text), "undo.csv", sheet.Options{})
		must(t, err)
		e.newLedger()
		b, err := batch.New(e.led, e.opts)
		must(t, err)
		if err := b.LoadSheet(t.Context(), in); err != nil {
			if bad, ok := errors.AsType[*batch.InvalidError](err); ok {
				t.Errorf("seed %d: %+v", seed, bad.First)
			}
			t.Errorf("seed %d: %v\n%s", seed, err, text)
		}
	}
	if written < 150 {
		t.Errorf("%d rows in all: too few to tell anything", written)
	}
}

// randomNight has a sheet of random rows end in random ways.
func (e *engine) randomNight(rng *rand.Rand, rules map[string]crm.Rules) {
	e.t.Helper()
	ctx := e.t.Context()
	stage, err := e.led.Import(ctx)
	must(e.t, err)
	for n := range 25 {
		if account, op, ok := randomOperation(rng, rules); ok {
			must(e.t, stage.Add(ledger.ImportRow{Line: n + 2, Account: account, Op: op}))
		}
	}
	must(e.t, stage.Match(ctx, func(iter.Seq2[ledger.Entry, error], func(past, rows []ledger.Entry, recordLevel bool, choices []ledger.Choice) error) error {
		return nil // all are new, and go by themselves
	}))
	must(e.t, stage.Commit(ctx, ledger.Source{Name: "sheet.csv", Layout: []byte(`{"Delimiter":",","Newline":"\n"}`)}))
	must(e.t, stage.Close())
	_, err = e.led.BeginRun(ctx, ledger.RunInfo{})
	must(e.t, err)
	for _, account := range []string{"main", "zoho"} {
		ops, err := e.led.Next(ctx, account, ledger.Cursor{}, 100)
		must(e.t, err)
		for _, op := range ops {
			call := fmt.Sprintf("call-%d", op.ID)
			if rng.IntN(8) == 0 {
				continue // never tried
			}
			must(e.t, e.led.Intend(ctx, ledger.Intent{CallID: call, Account: account, Ops: []ledger.Op{op}, Attempt: 1, Before: randomLook(rng, op.Operation), At: time.Now()}))
			if rng.IntN(8) == 0 {
				continue // killed
			}
			s := ledger.Outcome{CallID: call, Op: op, Attempts: 1, Uncertain: rng.IntN(6) == 0}
			s.Status = []crm.Status{crm.Accepted, crm.Done, crm.Done, crm.Unchanged, crm.Failed, crm.Uncertain}[rng.IntN(6)]
			s.Open = s.Status == crm.Accepted || s.Status == crm.Uncertain
			if s.Status == crm.Accepted {
				s.Ticket = call
			}
			must(e.t, e.led.Record(ctx, []ledger.Outcome{s}))
		}
	}
}
