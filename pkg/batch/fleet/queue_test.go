package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
)

func submit(t testing.TB, d *Database, ledgers ...string) {
	t.Helper()
	for _, ledger := range ledgers {
		must(t, d.Submit(t.Context(), Submission{Ledger: ledger, Sheet: ledger + ".csv", SubmittedBy: "somebody", File: strings.NewReader(ledger)}))
	}
}

func sheet(t testing.TB, d *Database, ledger string) Sheet {
	t.Helper()
	sheets, err := d.Sheets(t.Context(), ledger)
	must(t, err)
	if len(sheets) != 1 {
		t.Fatalf("%d sheets of %s", len(sheets), ledger)
	}
	return sheets[0]
}

func inState(t testing.TB, d *Database, ledger string, want State) Sheet {
	t.Helper()
	var s Sheet
	until(t, ledger+" is "+string(want), func() bool { s = sheet(t, d, ledger); return s.State == want })
	return s
}

// working runs Work until the returned function is called, which returns its error.
func working(t testing.TB, h *Host, do func(ctx context.Context, t *Task) Result) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Work(ctx, WorkOptions{Do: do, Drain: 2 * time.Second}) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	t.Cleanup(func() { stop() })
	return stop
}

// held is a Do that says that it has begun, and ends as it is told.
type heldTask struct {
	began chan *Task
	end   chan Result
	cause chan error
}

func newHeldTask() heldTask {
	return heldTask{make(chan *Task, 10), make(chan Result), make(chan error, 10)}
}

// do ends with HandBack when its ctx does.
func (h heldTask) do(ctx context.Context, t *Task) Result {
	h.began <- t
	select {
	case r := <-h.end:
		return r
	case <-ctx.Done():
		h.cause <- context.Cause(ctx)
		return Result{Next: Next{Kind: HandBack}, Why: "stopped"}
	}
}

func finished(context.Context, *Task) Result { return Result{Next: Next{Kind: Finished}} }

func TestSheetFromSubmitToDone(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	content := make([]byte, 2*pieceSize+1)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(content)
	files := map[string][]byte{"empty": {}, "one": []byte("a,b\n"), "piece": content[:pieceSize], "large": content}
	for name, file := range files {
		must(t, d.Submit(t.Context(), Submission{Ledger: name, Sheet: name + "\x00.csv", SubmittedBy: "me on here", File: bytes.NewReader(file), Flags: map[string]string{"share": "0.5"}}))
	}
	got := make(chan error, len(files))
	working(t, joined(t, d, "h"), func(ctx context.Context, task *Task) Result {
		f, err := task.Open(ctx)
		if err == nil {
			var all []byte
			if all, err = io.ReadAll(f); err == nil && !bytes.Equal(all, files[task.Sheet.Ledger]) {
				err = fmt.Errorf("%s: read %d bytes of %d", task.Sheet.Ledger, len(all), len(files[task.Sheet.Ledger]))
			}
			f.Close()
		}
		if task.Flags["share"] != "0.5" || task.Sheet.State != Running || task.Sheet.Tries != 1 || task.Sheet.Host != "h" {
			err = errors.Join(err, fmt.Errorf("task %+v", task.Sheet))
		}
		got <- err
		return Result{ExitCode: 1, Counts: map[string]int64{"done": 3}, Why: "a\x00b", Next: Next{Kind: Finished}}
	})
	for name := range files {
		must(t, <-got)
		s, err := d.Wait(t.Context(), name)
		must(t, err)
		if s.State != Done || s.Sheet != name+".csv" || s.SubmittedBy != "me on here" || s.ExitCode != 1 || s.Why != "ab" || s.Counts["done"] != 3 ||
			s.Submitted.IsZero() || s.Started.IsZero() || s.Ended.IsZero() || !s.NextTry.IsZero() {
			t.Errorf("ended as %+v", s)
		}
	}
	if n := number(t, d, "SELECT count(*) FROM bulkrevoke.fleet_file"); n != 0 {
		t.Errorf("%d pieces of files are left", n)
	}
	if _, err := d.Wait(t.Context(), "none"); !errors.Is(err, ErrNoSheet) {
		t.Errorf("got %v, want ErrNoSheet", err)
	}
	// What River's page shows.
	if n := number(t, d, "SELECT count(*) FROM bulkrevoke.river_job WHERE state = 'completed' AND metadata->'output'->>'exit_code' = '1'"); n != int64(len(files)) {
		until(t, "River shows the results", func() bool {
			return number(t, d, "SELECT count(*) FROM bulkrevoke.river_job WHERE state = 'completed' AND metadata->'output'->>'exit_code' = '1'") == int64(len(files))
		})
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("no more") }

func TestSubmitAllOrNothing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	if err := d.Submit(t.Context(), Submission{Ledger: "x", File: io.MultiReader(strings.NewReader("abc"), failingReader{})}); err == nil {
		t.Error("a file that cannot be read was submitted")
	}
	if n := number(t, d, "SELECT (SELECT count(*) FROM bulkrevoke.fleet_sheet) + (SELECT count(*) FROM bulkrevoke.fleet_file) + (SELECT count(*) FROM bulkrevoke.river_job)"); n != 0 {
		t.Errorf("%d rows are left of it", n)
	}
}

// What can be done to a sheet in each state.
func TestSheetStates(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	h := joined(t, d, "h")
	task := newHeldTask()
	working(t, h, task.do)
	ends := map[State]Result{
		Waiting:   {Next: Next{Kind: Quota, After: time.Hour}},
		Stopped:   {},
		Refused:   {Next: Next{Kind: NeedsChange}},
		Done:      {Next: Next{Kind: Finished}},
		Cancelled: {},
	}
	for _, tt := range []struct {
		state                 State
		submit, retry, cancel bool
	}{
		{Running, false, false, true},
		{Waiting, false, true, true},
		{Stopped, true, true, true},
		{Refused, true, true, true},
		{Done, true, false, false},
		{Cancelled, true, false, false},
	} {
		for _, what := range []string{"submit", "retry", "cancel"} {
			ledger := string(tt.state) + " " + what
			submit(t, d, ledger)
			<-task.began
			if tt.state == Cancelled {
				must(t, d.Cancel(t.Context(), ledger))
				if cause := <-task.cause; cause != ErrCancelled {
					t.Errorf("cause %v", cause)
				}
			} else if tt.state != Running {
				task.end <- ends[tt.state]
			}
			inState(t, d, ledger, tt.state)
			var err error
			var want bool
			switch what {
			case "submit":
				want, err = tt.submit, d.Submit(t.Context(), Submission{Ledger: ledger, File: strings.NewReader("x")})
				if e, ok := errors.AsType[*QueuedError](err); err != nil && (!ok || e.State != tt.state || (e.Host == "h") != (tt.state == Running)) {
					t.Errorf("%s: %v", ledger, err)
				}
			case "retry":
				want, err = tt.retry, d.Retry(t.Context(), ledger)
			case "cancel":
				want, err = tt.cancel, d.Cancel(t.Context(), ledger)
			}
			if (err == nil) != want {
				t.Errorf("%s: got %v", ledger, err)
			}
			if e, ok := errors.AsType[*StateError](err); err != nil && what != "submit" && (!ok || e.State != tt.state || e.Wanted != what) {
				t.Errorf("%s: got %v", ledger, err)
			}
			switch {
			case want && what == "cancel":
				inState(t, d, ledger, Cancelled)
				if tt.state == Running {
					<-task.cause
				}
			case want || tt.state == Running:
				if want {
					<-task.began // at once
				}
				task.end <- Result{Next: Next{Kind: Finished}}
				inState(t, d, ledger, Done)
			}
		}
	}
	for _, err := range []error{d.Retry(t.Context(), "none"), d.Cancel(t.Context(), "none")} {
		if !errors.Is(err, ErrNoSheet) {
			t.Errorf("got %v, want ErrNoSheet", err)
		}
	}
}

func TestQueuedSheets(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a", "b")
	err := d.Submit(t.Context(), Submission{Ledger: "a", File: strings.NewReader("x")})
	if e, ok := errors.AsType[*QueuedError](err); !ok || e.State != Queued {
		t.Errorf("submitted twice: %v", err)
	}
	if e, ok := errors.AsType[*StateError](d.Retry(t.Context(), "a")); !ok || e.State != Queued {
		t.Error("retried although queued")
	}
	must(t, d.Cancel(t.Context(), "a"))
	if s := sheet(t, d, "a"); s.State != Cancelled {
		t.Errorf("it is %s", s.State)
	}
	var done sync.Map
	working(t, joined(t, d, "h"), func(ctx context.Context, task *Task) Result {
		done.Store(task.Sheet.Ledger, true)
		return finished(ctx, task)
	})
	inState(t, d, "b", Done)
	if _, ok := done.Load("a"); ok {
		t.Error("a cancelled sheet was run")
	}
	sheets, err := d.Sheets(t.Context())
	if err != nil || len(sheets) != 2 || sheets[0].Ledger != "a" || sheets[1].Ledger != "b" {
		t.Errorf("%+v, %v", sheets, err)
	}
}

// One that has finished before it heard of being cancelled is done.
func TestCancelledTooLate(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	working(t, joined(t, d, "h"), func(ctx context.Context, task *Task) Result {
		must(t, d.Cancel(ctx, "a"))
		<-ctx.Done()
		return finished(ctx, task)
	})
	inState(t, d, "a", Done)
}

func TestProgress(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	task := newHeldTask()
	working(t, joined(t, d, "h"), task.do)
	(<-task.began).Report(map[string]int64{"done": 7})
	until(t, "progress is seen", func() bool { return sheet(t, d, "a").Counts["done"] == 7 })
	hosts, err := d.Hosts(t.Context())
	if err != nil || len(hosts) != 1 || len(hosts[0].Sheets) != 1 || hosts[0].Sheets[0] != "a" {
		t.Errorf("%+v, %v", hosts, err)
	}
	task.end <- Result{}
	if s := inState(t, d, "a", Stopped); s.Counts["done"] != 7 {
		t.Errorf("counts %v", s.Counts)
	}
}

// A host that stops gives its sheets to others at once.
func TestDrain(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	a, b := joined(t, d, "a"), joined(t, d, "b")
	task := newHeldTask()
	stop := working(t, a, task.do)
	<-task.began
	other := newHeldTask()
	working(t, b, other.do)
	must(t, stop())
	if cause := <-task.cause; cause != ErrDrain {
		t.Errorf("cause %v", cause)
	}
	again := <-other.began
	if again.Sheet.Tries != 1 || again.Sheet.Why != "stopped" {
		t.Errorf("it counted: %+v", again.Sheet)
	}
	other.end <- Result{Next: Next{Kind: Finished}}
	if s := inState(t, d, "a", Done); s.Host != "b" {
		t.Errorf("done on %s", s.Host)
	}
}

// A task that does not stop in time keeps nobody: what it says later changes nothing.
func TestDrainOfAStuckTask(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	a, b := joined(t, d, "a"), joined(t, d, "b")
	began, end, ended := make(chan bool, 1), make(chan bool), make(chan bool)
	stop := working(t, a, func(context.Context, *Task) Result {
		began <- true
		<-end
		defer close(ended)
		return Result{Next: Next{Kind: NeedsChange}, Why: "stale"}
	})
	<-began
	other := newHeldTask()
	working(t, b, other.do)
	if err := stop(); err == nil || !strings.Contains(err.Error(), "1 sheets did not stop") {
		t.Errorf("got %v", err)
	}
	<-other.began
	close(end)
	<-ended
	other.end <- Result{Next: Next{Kind: Finished}}
	if s := inState(t, d, "a", Done); s.Host != "b" || s.Why != "" {
		t.Errorf("%+v", s)
	}
}

// A dead host's sheets go on elsewhere by a new job; what it says later changes nothing.
func TestHostDies(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a", "c")
	a, b := joined(t, d, "a"), joined(t, d, "b")
	began, results := make(chan bool, 2), make(chan error, 2)
	go a.Work(context.Background(), WorkOptions{Drain: time.Minute, Do: func(ctx context.Context, task *Task) Result {
		began <- true
		<-ctx.Done()
		results <- context.Cause(ctx)
		return Result{Next: Next{Kind: NeedsChange}, Why: "stale"}
	}})
	<-began
	<-began
	must(t, d.Cancel(t.Context(), "c")) // which a frozen host cannot hear
	other := newHeldTask()
	a.freeze()
	stop := working(t, b, other.do)
	again := <-other.began
	if again.Sheet.Ledger != "a" || again.turn < 2 {
		t.Errorf("%+v, turn %d", again.Sheet, again.turn)
	}
	a.thaw()
	<-a.Lost()
	for range 2 {
		if cause := <-results; cause != ErrLost && cause != ErrCancelled {
			t.Errorf("cause %v", cause)
		}
	}
	until(t, "River has ended the dead host's jobs", func() bool {
		return number(t, d, "SELECT count(*) FROM bulkrevoke.river_job WHERE state = 'running'") == 1
	})
	if s := sheet(t, d, "a"); s.State != Running || s.Host != "b" || s.Why != "" {
		t.Errorf("after the dead host's result: %+v", s)
	}
	inState(t, d, "c", Cancelled)
	other.end <- Result{Next: Next{Kind: Finished}}
	inState(t, d, "a", Done)
	must(t, stop())
}

// The result of a turn that has passed changes nothing, also where the next one runs on
// the same host; nor does that of a host that was declared dead, whoever knows it yet.
func TestStaleResults(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	h := joined(t, d, "h")
	stale := Result{ExitCode: 9, Why: "stale", Next: Next{Kind: NeedsChange}}
	type run struct {
		ctx context.Context
		end chan Result
	}
	began := make(chan run)
	working(t, h, func(ctx context.Context, task *Task) Result {
		r := run{ctx, make(chan Result)}
		began <- r
		return <-r.end
	})
	unchanged := func(turn int64) {
		t.Helper()
		until(t, "its job has ended", func() bool {
			return number(t, d, "SELECT count(*) FROM bulkrevoke.river_job WHERE state NOT IN ('available', 'running')") == turn
		})
		if s := sheet(t, d, "a"); s.State != Running || s.Why != "" || s.ExitCode != 0 {
			t.Errorf("after a stale result: %+v", s)
		}
	}
	first := <-began
	must(t, d.changeOnce(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return d.handBack(ctx, tx, "a") }))
	second := <-began
	<-first.ctx.Done()
	if cause := context.Cause(first.ctx); cause != ErrLost {
		t.Errorf("cause %v", cause)
	}
	first.end <- stale
	unchanged(1)

	h.freeze() // it cannot find out by its heartbeat
	execute(t, d, "UPDATE bulkrevoke.fleet_host SET dead = clock_timestamp()")
	second.end <- stale
	unchanged(2)
	working(t, joined(t, d, "other"), finished)
	inState(t, d, "a", Done)
}

// The next turn of a sheet can begin on the same host before its last one is gone.
func TestRetriedAtOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	task := newHeldTask()
	working(t, joined(t, d, "h"), task.do)
	for range 10 {
		<-task.began
		task.end <- Result{Next: Next{Kind: Quota, After: time.Hour}}
		for {
			if err := d.Retry(t.Context(), "a"); err == nil {
				break
			}
		}
	}
	<-task.began
	task.end <- Result{Next: Next{Kind: Finished}}
	inState(t, d, "a", Done)
}

// A job whose turn has passed does nothing, however it came about; and a sheet that lost
// its job gets another one.
func TestJobsThatDoNotCount(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	task := newHeldTask()
	h := joined(t, d, "h")
	working(t, h, task.do)
	<-task.began
	must(t, pgx.BeginFunc(t.Context(), d.pool, func(tx pgx.Tx) error {
		for _, job := range []sheetJob{{"a", 0}, {"a", 1}, {"a", 99}, {"none", 1}} {
			if _, err := d.queue.InsertTx(t.Context(), tx, job, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	until(t, "they have ended", func() bool {
		return number(t, d, "SELECT count(*) FROM bulkrevoke.river_job WHERE state = 'completed'") == 4
	})
	task.end <- Result{Next: Next{Kind: Quota, After: time.Hour}}
	if s := inState(t, d, "a", Waiting); s.Tries != 1 {
		t.Errorf("%+v", s)
	}
	if len(task.began) != 0 {
		t.Error("a job that does not count was run")
	}

	// Somebody deletes the job in River's page.
	_, err := d.queue.JobDelete(t.Context(), number(t, d, "SELECT job FROM bulkrevoke.fleet_sheet"))
	must(t, err)
	<-task.began
	// Or cancels it while it runs, and while it waits.
	_, err = d.queue.JobCancel(t.Context(), number(t, d, "SELECT job FROM bulkrevoke.fleet_sheet"))
	must(t, err)
	if cause := <-task.cause; cause != ErrCancelled {
		t.Errorf("cause %v", cause)
	}
	inState(t, d, "a", Cancelled)
	submit(t, d, "a")
	<-task.began
	task.end <- Result{Next: Next{Kind: Unconfirmed}}
	inState(t, d, "a", Waiting)
	_, err = d.queue.JobCancel(t.Context(), number(t, d, "SELECT job FROM bulkrevoke.fleet_sheet"))
	must(t, err)
	inState(t, d, "a", Cancelled)
}

// A host that died after River gave it a job, and before it began, keeps nothing.
func TestHostDiesBeforeItBegins(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a", "b")
	execute(t, d, "UPDATE bulkrevoke.river_job SET state = 'running', attempted_at = now(), attempted_by = '{gone}'")
	execute(t, d, "UPDATE bulkrevoke.fleet_sheet SET state = 'running', host = 'gone' WHERE ledger = 'b'")
	working(t, joined(t, d, "h"), finished)
	inState(t, d, "a", Done)
	inState(t, d, "b", Done)
}

// An account in use is no failure, and leaves no trail of jobs.
func TestBusy(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	var mu sync.Mutex
	times := 0
	working(t, joined(t, d, "h"), func(ctx context.Context, task *Task) Result {
		mu.Lock()
		defer mu.Unlock()
		if times++; times < 6 {
			return Result{Next: Next{Kind: Busy}}
		}
		return finished(ctx, task)
	})
	if s := inState(t, d, "a", Done); s.Tries != 1 {
		t.Errorf("%d tries", s.Tries)
	}
	if n := number(t, d, "SELECT count(*) FROM bulkrevoke.river_job"); n > 3 {
		t.Errorf("%d jobs are left", n)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	working(t, joined(t, d, "h"), func(context.Context, *Task) Result { panic("oops") })
	if s := inState(t, d, "a", Stopped); s.ExitCode != 1 || !strings.Contains(s.Why, "mistake of this program") {
		t.Errorf("%+v", s)
	}
}

// Failures are stored, counted by PostgreSQL's clock, and forgotten when somebody retries.
func TestUnreachableSheet(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	task := newHeldTask()
	working(t, joined(t, d, "h"), task.do)
	unreachable := Result{ExitCode: 3, Why: "no answer", Next: Next{Kind: Unreachable}}
	waits := func(want time.Duration) {
		t.Helper()
		<-task.began
		task.end <- unreachable
		inState(t, d, "a", Waiting)
		left := time.Duration(number(t, d, "SELECT (extract(epoch FROM next_try - clock_timestamp()) * 1e6)::bigint FROM bulkrevoke.fleet_sheet")) * time.Microsecond
		if left > want || left < want-30*time.Second {
			t.Errorf("tried again in %s, want %s", left, want)
		}
		if n := number(t, d, "SELECT count(*) FROM bulkrevoke.river_job j JOIN bulkrevoke.fleet_sheet s ON s.job = j.id WHERE j.state = 'scheduled' AND j.scheduled_at = s.next_try"); n != 1 {
			t.Error("River does not show when")
		}
	}
	due := func() {
		execute(t, d, "UPDATE bulkrevoke.fleet_sheet SET next_try = clock_timestamp()")
	}
	waits(time.Minute)
	due()
	waits(5 * time.Minute)
	must(t, d.Retry(t.Context(), "a"))
	waits(time.Minute)
	execute(t, d, "UPDATE bulkrevoke.fleet_sheet SET unreachable_since = clock_timestamp() - interval '1 day'")
	due()
	<-task.began
	task.end <- unreachable
	if s := inState(t, d, "a", Stopped); s.Why != "no answer; it was tried for a day" || s.ExitCode != 3 || s.Tries != 4 {
		t.Errorf("%+v", s)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	// The pauses of a sheet that always ends in the same way, by a clock that is set on.
	pauses := func(kind Kind) (all []time.Duration, last verdict) {
		h := history{unreachable: -1, unconfirmed: -1}
		for now := time.Duration(0); ; now += last.pause {
			last = decide(Next{Kind: kind}, h, time.Second)
			if last.state != Waiting {
				return all, last
			}
			all = append(all, last.pause)
			// What is remembered when it is tried again.
			if last.unreachable {
				h.unreachable, h.unreachableTimes = now+last.pause, h.unreachableTimes+1
			}
			if last.unconfirmed {
				h.unconfirmed = now + last.pause
			}
		}
	}
	got, last := pauses(Unreachable)
	if want := []time.Duration{1 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, time.Hour}; !reflect.DeepEqual(got[:6], want) {
		t.Errorf("pauses %v, want %v", got[:6], want)
	}
	if len(got) != 4+24 || last.state != Stopped || !last.givenUp {
		t.Errorf("after %d tries %+v", len(got), last)
	}
	got, last = pauses(Unconfirmed)
	if len(got) != 24*4 || got[0] != 15*time.Minute || got[95] != 15*time.Minute || last.state != Stopped || !last.givenUp {
		t.Errorf("after %d tries %+v", len(got), last)
	}

	h := history{unreachable: time.Hour, unconfirmed: time.Hour, unreachableTimes: 2}
	for _, tt := range []struct {
		next Next
		want verdict
	}{
		{Next{}, verdict{state: Stopped}},
		{Next{Kind: Kind(99)}, verdict{state: Stopped}},
		{Next{Kind: NeedsChange}, verdict{state: Refused}},
		{Next{Kind: Finished}, verdict{state: Done}},
		{Next{Kind: Quota, After: time.Hour}, verdict{state: Waiting, pause: time.Hour, unconfirmed: true}},
		{Next{Kind: Quota}, verdict{state: Waiting, pause: time.Second, unconfirmed: true}},
		{Next{Kind: Unreachable}, verdict{state: Waiting, pause: 15 * time.Minute, unreachable: true, unconfirmed: true}},
		{Next{Kind: Unconfirmed}, verdict{state: Waiting, pause: 15 * time.Minute, unconfirmed: true}},
		{Next{Kind: Busy}, verdict{state: Waiting, pause: 2 * time.Second, unreachable: true, unconfirmed: true}},
		{Next{Kind: HandBack}, verdict{state: Queued, unreachable: true, unconfirmed: true}},
	} {
		if got := decide(tt.next, h, 2*time.Second); got != tt.want {
			t.Errorf("%+v: got %+v, want %+v", tt.next, got, tt.want)
		}
	}
}

// Every sheet is done exactly once, whatever host takes it.
func TestManySheets(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	var mu sync.Mutex
	runs := make(map[string]int)
	hosts := make(map[string]int)
	const sheets = 200
	for i := range sheets {
		submit(t, d, fmt.Sprintf("sheet %03d", i))
	}
	for n := range 3 {
		h := joined(t, opened(t, d.config.ConnString()), fmt.Sprint("host", n))
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() {
			ended <- h.Work(ctx, WorkOptions{AtOnce: 5, Do: func(ctx context.Context, task *Task) Result {
				mu.Lock()
				runs[task.Sheet.Ledger]++
				hosts[h.id]++
				mu.Unlock()
				return finished(ctx, task)
			}})
		}()
		defer func() {
			cancel()
			must(t, <-ended)
		}()
	}
	until(t, "all are done", func() bool {
		return number(t, d, "SELECT count(*) FROM bulkrevoke.fleet_sheet WHERE state = 'done'") == sheets
	})
	mu.Lock()
	defer mu.Unlock()
	for ledger, n := range runs {
		if n != 1 {
			t.Errorf("%s ran %d times", ledger, n)
		}
	}
	if len(runs) != sheets || len(hosts) < 2 {
		t.Errorf("%d sheets ran on %d hosts", len(runs), len(hosts))
	}
}

// The server restarts, crashes and loses all connections while hosts work: they go on by
// themselves, and every sheet ends.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.NewDatabase(t)
	d := opened(t, url)
	var mu sync.Mutex
	runs := make(map[string]int)
	const sheets = 50
	for i := range sheets {
		submit(t, d, fmt.Sprintf("sheet %d", i))
	}
	finish := make(chan bool)
	var hosts []*Host
	for n := range 2 {
		d := opened(t, url)
		h := joined(t, d, fmt.Sprint("host", n))
		hosts = append(hosts, h)
		working(t, h, func(ctx context.Context, task *Task) Result {
			mu.Lock()
			runs[task.Sheet.Ledger]++
			mu.Unlock()
			select {
			case <-finish:
			case <-ctx.Done():
				return Result{Next: Next{Kind: HandBack}}
			}
			return finished(ctx, task)
		})
	}
	begun := func(n int) {
		until(t, fmt.Sprint(n, " sheets have begun"), func() bool { mu.Lock(); defer mu.Unlock(); return len(runs) >= n })
	}
	begun(sheets)
	for _, trouble := range []func(){
		func() { server.Terminate(t, url) },
		func() { server.Restart(t, "fast") },
		func() { server.Restart(t, "immediate") },
		func() { // for longer than hosts wait before they declare one dead
			server.Stop(t, "immediate")
			for _, h := range hosts {
				until(t, "nothing may be sent", func() bool { return h.May() == ErrAway })
			}
			for range 5 {
				finish <- true
			}
			time.Sleep(d.times.steady)
			server.Continue(t)
			for _, h := range hosts {
				until(t, "it may be sent again", func() bool { return h.May() == nil })
			}
		},
	} {
		for range 5 {
			finish <- true
		}
		trouble()
		for range 5 {
			finish <- true
		}
	}
	close(finish)
	until(t, "all are done", func() bool {
		all, err := d.Sheets(t.Context())
		must(t, err)
		for _, s := range all {
			if s.State != Done {
				return false
			}
		}
		return len(all) == sheets
	})
	if n := number(t, d, "SELECT count(*) FROM bulkrevoke.fleet_host WHERE dead IS NOT NULL"); n != 0 {
		t.Errorf("%d hosts were declared dead", n)
	}
	// River listens and takes again.
	submit(t, d, "afterwards")
	if _, err := d.Wait(t.Context(), "afterwards"); err != nil {
		t.Error(err)
	}
}

// Neither of the two ways to give a password leaves it in the database.
func TestNoPasswordInTheDatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	url := server.NewDatabase(t)
	var log buffer
	const secret = "hunter2-hunter2"
	for _, c := range []Config{{URL: url, Password: secret}, {URL: url + "&password=" + secret}} {
		c.Log = testLogTo(&log)
		d, err := open(t.Context(), c, quickTimes(), systemClock())
		must(t, err)
		h := joined(t, d, "h")
		submit(t, d, "a")
		must(t, claim(t, h, ClaimOptions{}, "k").Release(t.Context(), nil))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.Work(ctx, WorkOptions{Do: finished}) }()
		inState(t, d, "a", Done)
		cancel()
		must(t, <-ended)
		must(t, h.Leave(t.Context()))
		must(t, d.Close())
	}
	dump := server.Dump(t, url)
	if strings.Contains(dump, secret) || strings.Contains(log.String(), secret) {
		t.Error("the password is in the database or the log")
	}
	if !strings.Contains(dump, "COPY bulkrevoke.river_job") || log.String() == "" {
		t.Error("the test looks at the wrong thing")
	}
}

// A sheet that cannot be moved on keeps no other one from it.
func TestMendGoesOnAfterAnError(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	submit(t, d, "b")
	execute(t, d, "UPDATE bulkrevoke.fleet_sheet SET state = 'running', host = 'gone'")
	execute(t, d, `CREATE FUNCTION bulkrevoke.fleet_fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$`)
	execute(t, d, `CREATE TRIGGER fails BEFORE UPDATE ON bulkrevoke.fleet_sheet FOR EACH ROW WHEN (OLD.ledger = 'a') EXECUTE FUNCTION bulkrevoke.fleet_fails()`)
	if err := d.mend(t.Context()); err == nil || !strings.Contains(err.Error(), "a: ") {
		t.Errorf("got error %v, want that of a", err)
	}
	inState(t, d, "b", Queued)
}

// A submit whose answer was lost finds that it has happened, whatever became of the sheet since.
func TestSubmitAfterALostAnswer(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	var upload int64
	try := func() error {
		return d.submitOnce(t.Context(), Submission{Ledger: "a", Sheet: "a.csv", File: strings.NewReader("x")}, &upload)
	}
	must(t, try())
	must(t, try())
	execute(t, d, "UPDATE bulkrevoke.fleet_sheet SET state = 'done' WHERE ledger = 'a'")
	must(t, try())
	if n := number(t, d, "SELECT count(*) FROM bulkrevoke.fleet_sheet WHERE turn = 1 AND state = 'done'"); n != 1 {
		t.Error("it was submitted again")
	}
}

// A host whose heartbeats do not get through takes no sheets.
func TestNoSheetsWithoutHeartbeats(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	submit(t, d, "a")
	h := joined(t, d, "h")
	h.freeze()
	h.lease.beats.Store(false)
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	if err := h.Work(ctx, WorkOptions{Do: func(context.Context, *Task) Result { t.Error("it took a sheet"); return Result{} }}); err != nil {
		t.Error(err)
	}
	inState(t, d, "a", Queued)
}
