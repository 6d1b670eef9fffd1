package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// databaseWriter makes the changes of many ledgers on one connection. What was queued while a
// commit was under way goes into the next one together, whatever ledgers it is of.
type databaseWriter struct {
	c       *conn
	jobs    chan *job
	quit    chan struct{}
	stopped chan struct{}
	closed  error

	open atomic.Int32 // the ledgers that are open

	// What follows is for its goroutine alone.
	last    time.Time     // when the last round began
	waiting []*job        // taken and not answered yet
	pause   time.Duration // before the next try, where the database does not answer; 0 while it does
	orphan  int64         // a transaction that the connection has lost; 0 for none
}

func newDatabaseWriter(c *conn) *databaseWriter {
	w := &databaseWriter{c: c, jobs: make(chan *job, mostPerCommit), quit: make(chan struct{}), stopped: make(chan struct{})}
	go w.write()
	return w
}

// close ends the writer. All ledgers have been closed.
func (w *databaseWriter) close() error {
	close(w.quit)
	<-w.stopped
	return w.closed
}

// lockedPause is how often a ledger is tried that somebody else holds.
const lockedPause = 20 * time.Millisecond

func (w *databaseWriter) write() {
	defer close(w.stopped)
	for {
		if !w.wait() {
			w.closed = w.c.close()
			return
		}
		w.rest()
		w.last = time.Now()
		w.gather()
		w.drop()
		w.round()
		w.drop()
	}
}

// wait returns when there is something to try. It is false at the end.
func (w *databaseWriter) wait() bool {
	var again <-chan time.Time
	if len(w.waiting) > 0 {
		pause := w.pause
		if pause == 0 && !slices.ContainsFunc(w.waiting, func(j *job) bool { return !j.l.shared.locked }) {
			pause = lockedPause
		}
		if pause == 0 {
			return true
		}
		timer := time.NewTimer(pause)
		defer timer.Stop()
		again = timer.C
	}
	for {
		select {
		case j := <-w.jobs:
			w.take(j)
			if w.pause == 0 {
				return true
			}
		case <-again:
			return true
		case <-w.quit:
			return false
		}
		if again == nil && len(w.waiting) > 0 {
			return true
		}
	}
}

// Where many ledgers are worked on, each has little to write at one time, and all are held
// back by the limits of their CRMs anyway: so much is let come together that the database has
// ten commits a second of each writer, instead of one for every few rows.
const (
	manyLedgers = 4
	manyPause   = 100 * time.Millisecond
)

// rest lets more come together where many ledgers are open.
func (w *databaseWriter) rest() {
	left := manyPause - time.Since(w.last)
	if w.open.Load() < manyLedgers || left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	for len(w.waiting) < mostPerCommit {
		select {
		case j := <-w.jobs:
			w.take(j)
		case <-timer.C:
			return
		case <-w.quit:
			return
		}
	}
}

// take takes a job that nobody has given up.
func (w *databaseWriter) take(j *job) {
	if j.taken.CompareAndSwap(false, true) {
		w.waiting = append(w.waiting, j)
	}
}

// gather takes what else has been queued.
func (w *databaseWriter) gather() {
	for breaths, n := 0, 0; n < mostPerCommit; {
		select {
		case j := <-w.jobs:
			w.take(j)
			n++
		default:
			if breaths == mostBreaths {
				return
			}
			breaths++
			runtime.Gosched()
		}
	}
}

// answer answers jobs.
func (w *databaseWriter) answer(jobs []*job, err error) {
	for _, j := range jobs {
		j.answered = true
		j.done <- err
	}
}

// drop forgets what has been answered, and gives up what nobody waits for any more. Nothing of
// it has happened.
func (w *databaseWriter) drop() {
	w.waiting = slices.DeleteFunc(w.waiting, func(j *job) bool {
		var err error
		switch {
		case j.answered:
			return true
		case j.ctx.Err() != nil:
			err = context.Cause(j.ctx)
		case isClosed(j.l.quit):
			if err = j.failed; err == nil {
				err = ErrClosed
			}
		case j.failed != nil && time.Since(j.since) > j.l.shared.patience:
			err = j.failed
		default:
			return false
		}
		j.done <- err
		return true
	})
}

func isClosed(quit <-chan struct{}) bool {
	select {
	case <-quit:
		return true
	default:
		return false
	}
}

// round tries all that waits: what goes together in one transaction, and what did not go
// well with the others in one of its own.
func (w *databaseWriter) round() {
	var together []*part
	var single []*job
	at := make(map[int64]*part)
	for _, j := range w.waiting {
		if j.single {
			single = append(single, j)
			continue
		}
		p := at[j.l.shared.number]
		switch {
		case p == nil:
			p = &part{s: j.l.shared, end: &j.l.shared.end, skip: j.l.shared.locked}
			at[j.l.shared.number] = p
			together = append(together, p)
		case p.s != j.l.shared:
			continue // one ledger that is open twice goes one after the other
		}
		p.jobs = append(p.jobs, j)
	}
	if len(together) > 0 {
		w.try(together)
	}
	for _, j := range single {
		if w.pause == 0 {
			w.try([]*part{{s: j.l.shared, end: &j.l.shared.end, skip: j.l.shared.locked, jobs: []*job{j}}})
		}
	}
}

// try makes one attempt. What it does not answer waits for the next.
func (w *databaseWriter) try(parts []*part) {
	// Two who lock several ledgers do so in one order.
	slices.SortFunc(parts, func(a, b *part) int { return int(a.s.number - b.s.number) })
	// It would hold its ledgers until the server sees that nobody is there any more.
	err := endTransaction(w.c, w.orphan)
	if err == nil {
		w.orphan = 0
		err = attempt(w.c, parts)
	}
	if err != nil {
		for _, p := range parts {
			*p.end = end{}
		}
	}
	if lostCommit(w.c, err) {
		happened, unknown := findOut(w.c, parts, err)
		switch {
		case happened:
			err = nil
		case unknown != nil:
			for _, p := range parts {
				w.answer(p.jobs, unknown)
			}
			return
		}
	}
	if err == nil {
		w.pause = 0
		for _, p := range parts {
			if p.s.locked = !p.claimed; p.claimed {
				w.answer(p.jobs, p.fenced)
			} else {
				p.failed(fmt.Errorf("%w: somebody else holds it", ErrBusy))
			}
		}
		return
	}
	blamed, ok := errors.AsType[partError](err)
	blames := parts // one of them, if it is not known which
	if ok {
		blames = []*part{blamed.p}
	}
	switch {
	case w.c.away(err):
		w.pause = min(max(2*w.pause, firstWait), longestWait)
		if w.orphan == 0 {
			w.orphan = w.c.txid
		}
		_ = w.c.hangUp() // it is lost, or of no use
		for _, p := range parts {
			p.failed(unwrapPart(err))
		}
	case ok && errors.Is(err, ErrBusy):
		blamed.p.s.locked = true
		blamed.p.failed(blamed.error)
	case errors.Is(err, ErrBusy): // a deadlock, or the like
		for _, p := range parts {
			p.failed(err)
		}
	case len(parts) > 1 || len(parts[0].jobs) > 1:
		// One of them can not be done. The others are not to suffer for it.
		for _, p := range blames {
			for _, j := range p.jobs {
				j.single = j.single || blamed.j == nil || blamed.j == j
			}
		}
	default:
		for _, p := range parts {
			w.answer(p.jobs, unwrapPart(err))
		}
	}
}

// part is what a transaction does to one ledger.
type part struct {
	s    *shared
	end  *end // as the connection knows it
	jobs []*job
	skip bool // do not wait for whoever holds the ledger

	// What an attempt has found.
	claimed bool  // the ledger was nobody else's
	fenced  error // Check has refused it, and nothing was written
	event   int64 // the last event that was written, 0 for none
	hash    [hashSize]byte
}

// failed says of jobs that will be tried again what they have failed with.
func (p *part) failed(err error) {
	for _, j := range p.jobs {
		j.failed = err
	}
}

// partError is an error of one part of a transaction, and of one of its jobs if that is
// not nil.
type partError struct {
	error
	p *part
	j *job
}

func (e partError) Unwrap() error { return e.error }

func unwrapPart(err error) error {
	if e, ok := errors.AsType[partError](err); ok {
		return e.error
	}
	return err
}

// attempt makes the changes of all parts, in one transaction.
func attempt(c *conn, parts []*part) error {
	c.txid = 0
	return c.within(c.begin(), func() error {
		for _, p := range parts {
			if j, err := p.run(c); err != nil {
				return partError{err, p, j}
			}
		}
		return saveParts(c, parts)
	})
}

// saveParts writes down the events of all parts, and where they end, with as few statements
// as for one.
func saveParts(c *conn, parts []*part) error {
	var heads []any // ledger, event, hash, opseq of each
	type ledgerEvent struct {
		newEvent
		ledger int64
	}
	type ledgerSeen struct {
		newSeen
		ledger int64
	}
	var events []ledgerEvent
	var looks []ledgerSeen
	for _, p := range parts {
		if !p.claimed || p.fenced != nil || !p.end.dirty {
			continue
		}
		e := p.end
		p.event, p.hash = e.event, e.hash
		for _, n := range e.looks {
			looks = append(looks, ledgerSeen{n, p.s.number})
		}
		for _, n := range e.events {
			events = append(events, ledgerEvent{n, p.s.number})
		}
		heads = append(heads, p.s.number, e.event, e.hash[:], e.opseq)
		clear(e.looks)
		clear(e.events)
		e.looks, e.events, e.dirty = e.looks[:0], e.events[:0], false
	}
	if err := c.insert("ledger_seen", seenColumns+", ledger", len(looks), func(args []any, i int) []any {
		return append(looks[i].values(args), looks[i].ledger)
	}); err != nil {
		return fmt.Errorf("write down what was seen: %w", err)
	}
	if err := c.insert("ledger_event", eventColumns+", ledger", len(events), func(args []any, i int) []any {
		return append(events[i].values(args), events[i].ledger)
	}); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	const width = 4
	for most := c.rowsPerInsert(); len(heads) > 0; heads = heads[most*width:] {
		for most > len(heads)/width {
			most /= 2
		}
		query := `UPDATE ledger_head SET event = v.event, hash = v.hash, opseq = v.opseq
			FROM (VALUES (CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BYTEA), CAST(? AS BIGINT))` + strings.Repeat(", (?, ?, ?, ?)", most-1) +
			`) v (ledger, event, hash, opseq) WHERE ledger_head.ledger = v.ledger`
		n, err := c.exec(query, heads[:most*width]...)
		if err == nil && n != int64(most) {
			err = fmt.Errorf("%w: %d of %d ledgers are there", ErrDamaged, n, most)
		}
		if err != nil {
			return fmt.Errorf("write down the end of the events: %w", err)
		}
	}
	return nil
}

// run makes the changes of one ledger, but for its events. j is the job that has failed.
func (p *part) run(c *conn) (j *job, err error) {
	p.claimed, p.fenced, p.event = false, nil, 0
	c.ledger, c.end = p.s.number, p.end
	mode := ""
	if p.skip {
		mode = skipLocked
	}
	if p.claimed, err = claimHead(c, mode); !p.claimed || err != nil {
		return nil, err
	}
	fenced, err := p.s.guard(c, p.jobs)
	if fenced {
		p.fenced, err = err, nil
	}
	if fenced || err != nil {
		return nil, err
	}
	for _, j := range p.jobs {
		if err := j.do(c); err != nil {
			return j, err
		}
		if c.failed != nil {
			return j, c.failed // overlooked
		}
	}
	return nil, nil
}

// lostCommit says that a transaction has failed when its COMMIT was under way, so that it may
// have happened.
func lostCommit(c *conn, err error) bool {
	_, committing := errors.AsType[commitError](err)
	return committing && c.lost(err)
}

// findOut finds out whether the transaction has happened whose COMMIT has no answer. It waits
// for the database as long as somebody waits for the answer; unknown is not nil if it did
// not get to know.
func findOut(c *conn, parts []*part, cause error) (happened bool, unknown error) {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		happened, known, err := hasHappened(c, parts)
		if known {
			return happened, nil
		}
		if err != nil && !c.away(err) && !errors.Is(err, ErrBusy) {
			return false, errors.Join(cause, err)
		}
		if !slices.ContainsFunc(parts, func(p *part) bool {
			return !isClosed(p.s.l.quit) && slices.ContainsFunc(p.jobs, func(j *job) bool { return time.Since(j.since) < p.s.patience })
		}) {
			return false, fmt.Errorf("whether the change has happened is not known: %w", cause)
		}
		time.Sleep(wait)
	}
}

// endTransaction ends the connection on which a transaction is under way, if one is: by its number.
func endTransaction(c *conn, txid int64) error {
	if txid == 0 {
		return nil
	}
	_, err := c.count("SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity WHERE backend_xid::text = ? AND application_name = current_setting('application_name')",
		strconv.FormatUint(uint64(txid)&0xffffffff, 10))
	return err
}

// hasHappened looks whether the last transaction has happened. A transaction that is still under
// way has nobody any more who could end it, and is ended.
func hasHappened(c *conn, parts []*part) (happened, known bool, err error) {
	if err := c.ended(); err != nil {
		return false, false, err
	}
	if err := endTransaction(c, c.txid); err != nil {
		return false, false, err
	}
	status := ""
	if err := c.query("SELECT txid_status(?) AS status", func(r row) error {
		status = r.text("status")
		return nil
	}, c.txid); err != nil {
		// A database that has lost what came last may not have come so far yet.
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "22023" {
			return false, false, err
		}
	}
	if status == "in progress" {
		return false, false, nil
	}
	// The events count for more than the number: a database that took over from the one that
	// was written to may know the number and not have the transaction.
	for _, p := range parts {
		if p.event != 0 {
			n, err := c.count("SELECT count(*) AS n FROM ledger_event WHERE ledger = ? AND seq = ? AND hash = ?", p.s.number, p.event, p.hash[:])
			return n > 0, err == nil, err
		}
	}
	return status == "committed", true, nil
}
