package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// WorkOptions say how a host works.
type WorkOptions struct {
	AtOnce int           // sheets at once, 200 if 0, at most 10,000
	Drain  time.Duration // how long to wait for sheets at work when ctx is done, 60 s if 0
	// Do runs a sheet and says what is to become of it. Its ctx ends, and
	// [context.Cause] says why, with ErrDrain, ErrCancelled or ErrLost: then it stops
	// cleanly and soon. A result that comes after ErrLost changes nothing.
	Do  func(ctx context.Context, t *Task) Result
	Log *slog.Logger // that of the Database if nil
}

// A Result is how a sheet's run ended.
type Result struct {
	ExitCode int
	Counts   map[string]int64 // what was reported last if nil
	Why      string           // for people, no secrets
	Next     Next
}

// Work takes queued sheets until ctx is done. Then it asks those at work to stop and gives
// back what is not finished; it is an error if some did not stop in time. ErrLost if this
// host was declared dead. While the database is away it waits. One Work at a time, which
// ends before Leave.
func (h *Host) Work(ctx context.Context, o WorkOptions) error {
	if !h.working.CompareAndSwap(false, true) {
		return errors.New("this host works already")
	}
	defer h.working.Store(false)
	o.AtOnce, o.Drain, o.Log = min(cmp.Or(o.AtOnce, 200), 10_000), cmp.Or(o.Drain, time.Minute), cmp.Or(o.Log, h.d.log)
	loops, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	w := &worker{h: h, o: o, log: o.Log.With("host", h.id), ctx: loops, tasks: make(map[int64]*Task), wake: make(chan struct{}, 1)}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &riverWorker{w: w}); err != nil {
		return err
	}
	client, err := river.NewClient(riverpgxv5.New(h.d.pool), &river.Config{
		ID: h.id, Schema: schema, Logger: riverLog(o.Log), Workers: workers, JobTimeout: -1, TestOnly: h.d.times.quick,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.AtOnce}},
	})
	if err != nil {
		return err
	}
	// One whose heartbeats do not get through would have sheets until it is declared dead, over
	// and over.
	for !h.lease.beats.Load() {
		if h.lease.over.Load() != nil {
			return ErrLost
		}
		if !sleep(ctx, h.d.times.watch/10) {
			return nil
		}
	}
	for began := false; !began; {
		if err := client.Start(context.WithoutCancel(ctx)); err == nil {
			began = true
		} else if w.log.Warn("sheets cannot be taken yet", "error", err); !sleep(ctx, h.d.times.watch) {
			return nil
		}
	}
	var loop sync.WaitGroup
	loop.Go(func() { w.supervise(loops) })
	defer loop.Wait()
	defer stop() // before it waits

	why := ErrDrain
	select {
	case <-ctx.Done():
	case <-h.Lost():
		why = ErrLost
	}
	w.endAll(why)
	// It also waits for what River has to tell the database, which may be away.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Drain+5*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- client.Stop(limited) }()
	left := w.waitFor(o.Drain, h.Lost())
	if h.lease.over.Load() != nil {
		why = ErrLost
	}
	if left > 0 {
		w.log.Error("sheets did not stop in time", "sheets", left, "drain", o.Drain)
		stop()
		if why != ErrLost {
			if err := w.giveBack(limited); err != nil {
				w.log.Warn("sheets could not be given back: others will find out", "error", err)
			}
		}
		cancel()
	}
	if err := <-stopped; err != nil && left == 0 {
		w.log.Warn("River did not stop in time", "error", err)
	}
	switch {
	case why == ErrLost:
		return ErrLost
	case left > 0:
		return fmt.Errorf("%d sheets did not stop within %s: others go on with them", left, o.Drain)
	}
	return nil
}

// worker is one Work.
type worker struct {
	h    *Host
	o    WorkOptions
	log  *slog.Logger
	ctx  context.Context // done when nothing more is written
	wake chan struct{}   // the tasks are to be looked after now

	mu    sync.Mutex      // guards the rest
	tasks map[int64]*Task // by job: the next turn of a sheet can begin before its last one is gone
	ended error           // why no more are taken
	idle  []chan struct{} // closed when there are no tasks
}

// riverWorker is what River calls.
type riverWorker struct {
	river.WorkerDefaults[sheetJob]
	w *worker
}

func (r *riverWorker) Timeout(*river.Job[sheetJob]) time.Duration { return -1 }

// Work always ends the job: whatever is to be done again gets a new one.
func (r *riverWorker) Work(ctx context.Context, job *river.Job[sheetJob]) error {
	w := r.w
	t, err := w.begin(ctx, job)
	if t == nil {
		if err != nil {
			w.log.Warn("a sheet could not be begun", "ledger", job.Args.Ledger, "error", err)
		}
		return nil // what is still queued is found by mend
	}
	defer w.remove(t)
	result := w.do(t)
	w.finish(t, result)
	// It is only for River's page.
	return river.RecordOutput(ctx, map[string]any{"exit_code": result.ExitCode, "counts": asJSON(result.Counts), "why": text(result.Why)})
}

// begin takes a sheet whose turn it is. It returns nil if the turn has passed, or the job
// is not the one of that turn.
func (w *worker) begin(ctx context.Context, job *river.Job[sheetJob]) (*Task, error) {
	t := &Task{w: w, turn: job.Args.Turn, job: job.ID}
	t.Sheet.Ledger = job.Args.Ledger
	for errors.Is(w.h.May(), ErrAway) {
		// It may be about to be declared dead, and then the sheet would have to wait for that again.
		w.mu.Lock()
		ended := w.ended
		w.mu.Unlock()
		if ended != nil || !sleep(w.ctx, w.h.d.times.watch) {
			return nil, nil
		}
	}
	for {
		err := w.h.d.change(w.ctx, func(ctx context.Context, tx pgx.Tx) error {
			if _, _, err := lockSheet(ctx, tx, job.Args.Ledger); err != nil {
				return err
			}
			// It is running here if only the answer was lost.
			s := &t.Sheet
			var started *time.Time
			err := tx.QueryRow(ctx, `UPDATE bulkrevoke.fleet_sheet SET state = 'running', host = $3, host_name = $4, next_try = NULL,
					started = clock_timestamp(), tries = tries + CASE state WHEN 'running' THEN 0 ELSE 1 END
				WHERE ledger = $1 AND turn = $2 AND job = $5 AND (state IN ('queued', 'waiting') OR state = 'running' AND host = $3)
				AND EXISTS (SELECT FROM bulkrevoke.fleet_host h WHERE h.id = $3 AND h.dead IS NULL)
				RETURNING sheet, submitted_by, state, host_name, submitted, started, tries, exit_code, why, counts, flags, upload`,
				job.Args.Ledger, t.turn, w.h.id, w.h.name, job.ID).
				Scan(&s.Sheet, &s.SubmittedBy, &s.State, &s.Host, &s.Submitted, &started, &s.Tries, &s.ExitCode, &s.Why, &s.Counts, &t.Flags, &t.upload)
			s.Started = at(started)
			return err
		})
		switch {
		case err == nil:
			return w.add(ctx, t), nil
		case errors.Is(err, pgx.ErrNoRows) || errors.Is(err, ErrNoSheet):
			return nil, nil
		}
		w.mu.Lock()
		ended := w.ended
		w.mu.Unlock()
		if ended != nil || !sleep(w.ctx, w.h.d.times.watch) {
			return nil, err
		}
	}
}

// add makes a task one that is at work. If the host stops meanwhile, its ctx is done at
// once, and it hands back by itself.
func (w *worker) add(job context.Context, t *Task) *Task {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tasks[t.job] != nil {
		return nil // River gave us the same job twice
	}
	w.tasks[t.job] = t
	t.ctx, t.cancel = context.WithCancelCause(context.WithoutCancel(job))
	if w.ended != nil {
		t.cancel(w.ended)
	}
	// Somebody cancelled the job in River's page; or it was taken from us.
	t.unwatch = context.AfterFunc(job, func() {
		if errors.Is(context.Cause(job), river.ErrJobCancelledRemotely) {
			t.mu.Lock()
			t.remote = true
			t.mu.Unlock()
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	})
	return t
}

func (w *worker) remove(t *Task) {
	t.unwatch()
	t.cancel(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.tasks, t.job)
	if len(w.tasks) == 0 {
		for _, ch := range w.idle {
			close(ch)
		}
		w.idle = nil
	}
}

func (w *worker) all() []*Task {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.tasks))
}

func (w *worker) endAll(why error) {
	w.mu.Lock()
	w.ended = why
	w.mu.Unlock()
	for _, t := range w.all() {
		t.cancel(why)
	}
}

// waitFor waits until no task is left, and returns how many are. Once the host is lost it
// makes no difference whether it was waited for: then tasks get the rest of the time too.
func (w *worker) waitFor(d time.Duration, lost <-chan struct{}) int {
	w.mu.Lock()
	idle := make(chan struct{})
	if len(w.tasks) == 0 {
		close(idle)
	} else {
		w.idle = append(w.idle, idle)
	}
	w.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-idle:
			return 0
		case <-lost:
			w.endAll(ErrLost)
			lost = nil
		case <-timer.C:
			return len(w.all())
		}
	}
}

// giveBack queues the sheets whose tasks did not end. Their claims still protect them.
func (w *worker) giveBack(ctx context.Context) error {
	return w.h.d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return w.h.d.handBackAll(ctx, tx, w.h.id)
	})
}

// do runs a task. One that fails by a mistake of the program does not end the others.
func (w *worker) do(t *Task) (r Result) {
	defer func() {
		if failed := recover(); failed != nil {
			w.log.Error("a sheet's run ended by a mistake of this program", "ledger", t.Sheet.Ledger, "panic", fmt.Sprint(failed), "stack", string(debug.Stack()))
			r = Result{ExitCode: 1, Why: "its run ended by a mistake of this program, which the log of " + w.h.name + " shows"}
		}
	}()
	if t.ctx.Err() != nil { // the host stopped before it began
		return Result{Next: Next{Kind: HandBack}, Counts: t.Sheet.Counts, Why: t.Sheet.Why, ExitCode: t.Sheet.ExitCode}
	}
	return w.o.Do(t.ctx, t)
}
