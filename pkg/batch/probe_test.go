package batch

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// scripted is a fake whose calls and looks a test writes itself.
type scripted struct {
	*fake
	do      func(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome
	confirm func(items []crm.Item) []crm.Outcome
}

func (s *scripted) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	if s.do == nil {
		return s.fake.Do(ctx, call, j)
	}
	return s.do(ctx, call, j)
}

func (s *scripted) Confirm(ctx context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	if s.confirm == nil {
		return s.fake.Confirm(ctx, items)
	}
	return s.confirm(items), crm.State{}
}

// bundler sends up to most revokes of different records in one call, which the CRM
// answers with one ticket.
type bundler struct {
	*scripted
	most int
}

func (p *bundler) Bundle(op crm.Operation) (string, int) {
	if op.Action != crm.Revoke {
		return "", 0
	}
	return "revokes", p.most
}

// faults has statements of a ledger fail.
type faults struct {
	mu    sync.Mutex // guards what follows
	query string     // what they begin with or hold, "" for none
	value string     // and one of their values, "" for any
}

// arm has every statement with the text, and the value if one is given, fail from now on.
func (f *faults) arm(query string, value ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.query, f.value = query, strings.Join(value, "")
}

func (f *faults) fault(query string, args []driver.NamedValue) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.query == "" || !strings.Contains(query, f.query) ||
		f.value != "" && !slices.ContainsFunc(args, func(arg driver.NamedValue) bool { return arg.Value == f.value }) {
		return nil
	}
	return errors.New("disk full")
}

// connector puts the faults between a ledger and its database's driver.
func (f *faults) connector(to driver.Connector) driver.Connector { return faultyConnector{to, f} }

type faultyConnector struct {
	driver.Connector
	faults *faults
}

func (c faultyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	to, err := c.Connector.Connect(ctx)
	return faultyConn{to, c.faults}, err
}

type faultyConn struct {
	driver.Conn
	faults *faults
}

func (c faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.faults.fault(query, args); err != nil {
		return nil, err
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c faultyConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	to, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	return faultyStmt{to, query, c.faults}, err
}

type faultyStmt struct {
	driver.Stmt
	query  string
	faults *faults
}

func (s faultyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.faults.fault(s.query, args); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s faultyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.faults.fault(s.query, args); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

// benchAt is newBench for any provider, with what the ledger's statements can fail by.
func benchAt(t testing.TB, p crm.Provider) (*bench, *faults) {
	t.Helper()
	f := new(faults)
	led, err := ledger.Open(t.TempDir()+"/sheet.ledger.db", ledger.Options{Create: true, Wrap: f.connector})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := led.Close(); err != nil {
			t.Errorf("close the ledger: %v", err)
		}
	})
	b := &bench{t: t, led: led, opts: Options{ConfirmTimeout: time.Minute, Default: "a"}}
	b.opts.Accounts = []Account{{Name: "a", CRM: "fake", Host: "a.example", Provider: p, Workers: 4}}
	return b, f
}

// try takes a sheet through a run that may end with an error.
func (b *bench) try(ctx context.Context, rows ...string) (Summary, error) {
	b.t.Helper()
	batch, _, err := b.prepare(rows...)
	if err != nil {
		b.t.Fatalf("prepare: %v", err)
	}
	if err := batch.Commit(b.t.Context()); err != nil {
		b.t.Fatalf("commit: %v", err)
	}
	return batch.Run(ctx)
}

func wantCounts(t testing.TB, got Counts, results []ledger.Result) {
	t.Helper()
	var want Counts
	for _, r := range results {
		want.Rows++
		switch {
		case r.Invalid:
			want.Invalid++
		case r.Status == crm.Done:
			want.Done++
		case r.Status == crm.Unchanged:
			want.Unchanged++
		case r.Status == crm.Accepted:
			want.Accepted++
		case r.Status == crm.Failed:
			want.Failed++
		case r.Status == crm.Uncertain, r.Status == crm.Sent:
			want.InDoubt++
		default:
			want.NotAttempted++
		}
	}
	if got != want {
		t.Errorf("the summary counts %+v, the ledger has %+v", got, want)
	}
}

var unreachable = &crm.AccountError{Code: crm.EndUnreachable, Err: errors.New("gone")}

// moody is a CRM that answers as it likes until it is calm.
type moody struct {
	*fake
	mood sync.Mutex // guards rng
	rng  *rand.Rand
	calm bool
}

func newMoody(t *testing.T, seed uint64) *moody {
	m := &moody{fake: newFake(t), rng: rand.New(rand.NewPCG(seed, 11))}
	m.answer, m.settle = m.change, m.look
	return m
}

func (m *moody) dice(n int) int {
	m.mood.Lock()
	defer m.mood.Unlock()
	return m.rng.IntN(n)
}

// perhaps has the change take effect, or not.
func (m *moody) perhaps(op crm.Operation) {
	if m.dice(2) == 0 {
		m.mu.Lock()
		m.inForce[op.Target()] = op
		m.mu.Unlock()
	}
}

func (m *moody) change(item crm.Item) crm.Outcome {
	time.Sleep(time.Duration(m.dice(300)) * time.Millisecond)
	if m.calm || m.dice(3) > 0 {
		return crm.Outcome{Status: crm.Accepted, Later: time.Duration(m.dice(3)) * time.Second}
	}
	maybe := item.Prior != crm.PriorNone
	switch m.dice(6) {
	case 0:
		return crm.Outcome{Status: crm.Failed, Code: "MXTest", Uncertain: maybe}
	case 1:
		return crm.Outcome{Status: crm.Done}
	case 2:
		m.perhaps(item.Op)
		return crm.Outcome{Status: crm.Uncertain}
	case 3:
		return crm.Outcome{Status: crm.Pending, Later: time.Duration(1+m.dice(5)) * time.Second, Uncertain: maybe}
	case 4:
		m.perhaps(item.Op)
		return crm.Outcome{Status: crm.Pending, Later: time.Second, Uncertain: true}
	}
	m.perhaps(item.Op)
	return crm.Outcome{Status: crm.Failed, Uncertain: true}
}

func (m *moody) look(crm.Item) crm.Outcome {
	time.Sleep(time.Duration(m.dice(300)) * time.Millisecond)
	if m.calm || m.dice(2) > 0 {
		return crm.Outcome{Status: crm.Done}
	}
	verdicts := []crm.Status{crm.Accepted, crm.Accepted, crm.Failed}
	return crm.Outcome{Status: verdicts[m.dice(len(verdicts))], Code: fmt.Sprint("status_", m.dice(3))}
}

func (m *moody) row() string {
	verb := []string{"revoke r%d u%d", "share r%d u%d read", "share r%d u%d write"}[m.dice(3)]
	return fmt.Sprintf(verb, m.dice(8), m.dice(3))
}

func (m *moody) test() {
	t := m.t
	b := newBench(t, m.fake)
	b.opts.ConfirmTimeout = 20 * time.Second
	var rows []string
	for range 6 {
		for range 8 {
			rows = slices.Insert(rows, m.dice(len(rows)+1), m.row())
		}
		ctx, cancel := context.WithCancel(context.Background())
		stop := time.AfterFunc(time.Duration(m.dice(40000))*time.Millisecond, cancel)
		s, results := b.run(ctx, rows...)
		stop.Stop()
		cancel()
		wantCounts(t, s.Counts, results)
	}
	m.calm, b.opts.RedoInDoubt = true, true
	for range 3 {
		s, results := b.run(context.Background(), rows...)
		wantCounts(t, s.Counts, results)
	}
	m.sentWords()
	_, results := b.run(context.Background(), rows...)
	last := make(map[crm.Target]crm.Operation)
	for _, r := range results {
		last[r.Op.Target()] = r.Op
		if r.Status != crm.Done {
			t.Errorf("line %d is %s (%s %s), want done", r.Line, r.Status, r.Code, r.Message)
		}
	}
	for target, op := range last {
		if m.inForce[target] != op {
			t.Errorf("in force on %v is %v, want %v", target, m.inForce[target], op)
		}
	}
	wantSent(t, m.fake)
	if err := b.led.VerifyChain(context.Background()); err != nil {
		t.Errorf("the chain of events: %v", err)
	}
}
