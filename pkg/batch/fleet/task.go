package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Task is a sheet that this host works on.
type Task struct {
	Sheet Sheet             // as it was when its run began
	Flags map[string]string // as submitted

	w       *worker
	turn    int64
	job     int64
	upload  int64
	ctx     context.Context
	cancel  context.CancelCauseFunc
	unwatch func() bool

	mu     sync.Mutex // guards the rest
	counts map[string]int64
	fresh  bool // counts are not stored yet
	remote bool // River was told to cancel the job
}

// Report says how far the run is. It never waits; what was reported last is stored every
// two seconds, for others to see.
func (t *Task) Report(counts map[string]int64) {
	counts = maps.Clone(counts)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts, t.fresh = counts, true
}

func (t *Task) reported() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// unstored returns counts that are to be stored, nil if there are none.
func (t *Task) unstored() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.fresh {
		return nil
	}
	t.fresh = false
	return t.counts
}

// Open returns the sheet's file, which the caller closes. It is read piece by piece.
func (t *Task) Open(ctx context.Context) (io.ReadCloser, error) {
	f := &file{ctx: ctx, d: t.w.h.d, upload: t.upload}
	if err := f.next(); err != nil {
		return nil, err
	}
	return f, nil
}

// file reads a stored file. It keeps no connection between two pieces.
type file struct {
	ctx    context.Context // of Open: a Reader has no other way to get one
	d      *Database
	upload int64
	piece  int
	last   bool // it was read
	buf    bytes.Reader
}

func (f *file) Read(p []byte) (int, error) {
	for f.buf.Len() == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	return f.buf.Read(p)
}

func (f *file) Close() error { return nil }

// next reads the next piece. It is ErrNoSheet if that is gone: the sheet was replaced or
// has ended. A file never seems to end before its last piece.
func (f *file) next() error {
	if f.last {
		return io.EOF
	}
	var piece []byte
	err := f.d.change(f.ctx, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT bytes, last FROM bulkrevoke.fleet_file WHERE upload = $1 AND piece = $2`, f.upload, f.piece).Scan(&piece, &f.last)
	})
	if err == pgx.ErrNoRows {
		err = ErrNoSheet
	}
	if err != nil {
		return fmt.Errorf("read the stored sheet: %w", err)
	}
	f.piece++
	f.buf.Reset(piece)
	return nil
}

// supervise stores progress and looks whether a task's sheet is still ours and wanted.
func (w *worker) supervise(ctx context.Context) {
	timer := time.NewTicker(w.h.d.times.watch)
	defer timer.Stop()
	stored := w.h.d.clock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
		tasks := w.all() // before their sheets are read: each has begun by then
		if len(tasks) == 0 {
			continue
		}
		if err := w.lookAfter(ctx, tasks); err != nil && !passing(err) && ctx.Err() == nil {
			w.log.Error("sheets at work could not be looked after", "error", err)
		}
		if now := w.h.d.clock(); now-stored >= w.h.d.times.report {
			stored = now
			if err := w.storeProgress(ctx, tasks); err != nil && !passing(err) && ctx.Err() == nil {
				w.log.Error("progress could not be stored", "error", err)
			}
		}
	}
}

func (w *worker) lookAfter(ctx context.Context, tasks []*Task) error {
	limited, cancel := context.WithTimeout(ctx, w.h.d.times.limit)
	defer cancel()
	type ours struct {
		turn   int64
		cancel bool
	}
	sheets := make(map[string]ours)
	rows, err := w.h.d.pool.Query(limited, `SELECT ledger, turn, cancel FROM bulkrevoke.fleet_sheet s WHERE host = $1 AND state = 'running'
		AND EXISTS (SELECT FROM bulkrevoke.fleet_host h WHERE h.id = s.host AND h.dead IS NULL)`, w.h.id)
	if err != nil {
		return err
	}
	var ledger string
	var one ours
	if _, err := pgx.ForEachRow(rows, []any{&ledger, &one.turn, &one.cancel}, func() error {
		sheets[ledger] = one
		return nil
	}); err != nil {
		return err
	}
	for _, t := range tasks {
		t.mu.Lock()
		remote := t.remote
		t.mu.Unlock()
		switch has, ok := sheets[t.Sheet.Ledger]; {
		case !ok || has.turn != t.turn:
			t.cancel(ErrLost)
		case has.cancel || remote:
			t.cancel(ErrCancelled)
		}
	}
	return nil
}

func (w *worker) storeProgress(ctx context.Context, tasks []*Task) error {
	var ledgers, counts []string
	var turns []int64
	for _, t := range tasks {
		if c := t.unstored(); len(c) > 0 {
			text, err := json.Marshal(asJSON(c))
			if err != nil {
				return err
			}
			ledgers, turns, counts = append(ledgers, t.Sheet.Ledger), append(turns, t.turn), append(counts, string(text))
		}
	}
	if len(ledgers) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, w.h.d.times.limit)
	defer cancel()
	// One at a time would wait for each; a deadlock with others is no harm, what was not
	// stored comes with the next report.
	_, err := w.h.d.pool.Exec(limited, `UPDATE bulkrevoke.fleet_sheet s SET counts = r.counts::jsonb
		FROM unnest($1::text[], $2::bigint[], $3::text[]) AS r (ledger, turn, counts)
		WHERE s.ledger = r.ledger AND s.turn = r.turn AND s.state = 'running' AND s.host = $4`, ledgers, turns, counts, w.h.id)
	return err
}
