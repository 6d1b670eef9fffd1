package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// simulated is a run of 1000 rows of which 400 were settled before it began and
// one more is settled each second, with two calls each and as long as they last.
func simulated(start time.Time) func() batch.Progress {
	return func() batch.Progress {
		n := int64(time.Since(start) / time.Second)
		return batch.Progress{
			Phase: batch.PhaseRunning, CallsMade: 2 * n, CallsLeft: 2 * (600 - n), TimeLeft: time.Duration(600-n) * time.Second,
			Counts: batch.Counts{Rows: 1000, Done: 400 + n - n/10, Failed: n / 10, NotAttempted: 600 - n},
			Accounts: []batch.SummaryAccount{{
				Account: "main", Usage: crm.Usage{Calls: 2 * n, Limit: 20, Window: 5 * time.Second},
			}},
		}
	}
}

// writerFunc is called with what is written.
type writerFunc func([]byte)

func (w writerFunc) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func TestPlainProgressEvery30Seconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var lines []string
		screen := NewScreen(writerFunc(func(line []byte) {
			lines = append(lines, time.Since(start).String()+" "+strings.TrimSuffix(string(line), "\n"))
		}))
		p := StartProgress(ProgressOptions{Screen: screen, Get: simulated(start)})
		time.Sleep(100*time.Second + time.Millisecond)
		p.Stop()
		want := []string{
			"30s running: 430 of 1000 rows done, about 9m30s left, 3 failed, 2.0 calls/s of 4.0",
			"1m0s running: 460 of 1000 rows done, about 9m0s left, 6 failed, 2.0 calls/s of 4.0",
			"1m30s running: 490 of 1000 rows done, about 8m30s left, 9 failed, 2.0 calls/s of 4.0",
			"1m40.001s running: 500 of 1000 rows done, about 8m20s left, 10 failed, 2.0 calls/s of 4.0",
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

func TestBarIsRedrawnInPlaceAndTakenAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		screen := NewScreen(&out)
		p := StartProgress(ProgressOptions{Screen: screen, Bar: true, Width: func() int { return 120 }, Get: simulated(time.Now())})
		time.Sleep(100*time.Second + time.Millisecond)
		synctest.Wait()
		got := out.String()
		if want := "16% |██            | 500 of 1000 rows done, about 8m20s left, 10 failed"; !strings.Contains(got, want) {
			t.Errorf("no bar of a sixth of the calls in %q", got[max(0, len(got)-300):])
		}
		if strings.Contains(strings.ReplaceAll(got, clearLine, ""), "\x1b") {
			t.Errorf("the bar brings escape sequences of its own: %q", got[max(0, len(got)-300):])
		}
		if strings.Contains(got, "\n") {
			t.Errorf("the bar goes over more than one line")
		}
		p.Stop()
		if !strings.HasSuffix(out.String(), clearLine) {
			t.Errorf("the bar is still there: %q", out.String()[out.Len()-60:])
		}
		for _, line := range strings.Split(got, clearLine) {
			if n := len([]rune(line)); n >= 120 {
				t.Errorf("a line of %d characters on a terminal of 120: %q", n, line)
			}
		}
	})
}

func TestBarDoesNotRedrawWhatHasNotChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := StartProgress(ProgressOptions{Screen: NewScreen(&out), Bar: true, Width: func() int { return 80 }, Get: func() batch.Progress {
			return batch.Progress{Phase: "loading"}
		}})
		time.Sleep(time.Minute)
		p.Stop()
		if n := strings.Count(out.String(), clearLine); n != 2 {
			t.Errorf("drawn %d times, want once, and once taken away: %q", n, out.String())
		}
	})
}

func TestProgressTellsPausesAndWhatToConfirm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		state := batch.Progress{
			Phase: batch.PhaseRunning, TimeLeft: 90 * time.Second,
			Counts: batch.Counts{Rows: 10, Done: 1, Accepted: 4, NotAttempted: 5},
			Accounts: []batch.SummaryAccount{{Account: "main", Usage: crm.Usage{
				PausedUntil: now.Add(4200 * time.Millisecond), Why: "rate\x1b limit",
			}}},
		}
		for _, tc := range []struct {
			accepted bool
			want     string
		}{
			{false, "running: 1 of 10 rows done, about 1m30s left, 4 to confirm, main pauses for 4s (rate\uFFFD limit), 0.0 calls/s"},
			{true, "running: 5 of 10 rows done, about 1m30s left, main pauses for 4s (rate\uFFFD limit), 0.0 calls/s"},
		} {
			p := &Progress{opts: ProgressOptions{AcceptedIsDone: tc.accepted}}
			p.sample(now, state)
			if diff := cmp.Diff(tc.want, p.text(now, state)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		}
	})
}

// On a narrow terminal what matters most comes first and alone; on a wide one the bar
// is longer.
func TestProgressAtEveryWidth(t *testing.T) {
	t.Parallel()
	state := batch.Progress{
		Phase: batch.PhaseRunning, CallsMade: 50, CallsLeft: 141, TimeLeft: 20400 * time.Millisecond,
		Counts:   batch.Counts{Rows: 95, Done: 23, Failed: 2, Accepted: 12, NotAttempted: 58},
		Accounts: []batch.SummaryAccount{{Account: "main", Usage: crm.Usage{Calls: 51, Limit: 20, Window: 5 * time.Second}}},
	}
	stopping := state
	stopping.Stopping = at.Add(-3 * time.Second)
	stopping.Accounts = []batch.SummaryAccount{{Usage: crm.Usage{Open: 3}}}
	for _, tc := range []struct {
		width int
		state batch.Progress
		want  string
	}{
		{20, state, "26% 25/95 20s left,"},
		{40, state, "26% 25/95 20s left, 2 failed, 12 to con"},
		{80, state, "26% |██       | 25 of 95 rows done, about 20s left, 2 failed, 12 to confirm, 0."},
		{200, state, "26% |██████                  | 25 of 95 rows done, about 20s left, 2 failed, 12 to confirm, 0.0 calls/s of 4.0"},
		{40, stopping, "stopping, 3 calls open, 22s at most"},
		{80, stopping, "stopping, 3 calls open, 22s at most"},
		{40, batch.Progress{Phase: batch.PhaseLoading}, "loading"},
		{40, batch.Progress{}, "starting"},
	} {
		var out bytes.Buffer
		p := &Progress{opts: ProgressOptions{Screen: NewScreen(&out), Width: func() int { return tc.width }}}
		p.sample(at, tc.state)
		p.draw(at, tc.state)
		if got := strings.TrimPrefix(out.String(), clearLine); got != tc.want {
			t.Errorf("%d wide: %q, want %q", tc.width, got, tc.want)
		}
	}
}

// Machines get the same numbers that people read; what is not known is left out.
func TestProgressForMachines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		screen := NewScreen(&out)
		screen.UseJSON()
		get := simulated(time.Now())
		p := StartProgress(ProgressOptions{Screen: screen, Get: func() batch.Progress {
			state := get()
			if state.CallsMade >= 200 {
				state.TimeLeft = 0 // it is through
			}
			return state
		}})
		time.Sleep(100*time.Second + time.Millisecond)
		p.Stop()
		var got []map[string]any
		for line := range strings.Lines(out.String()) {
			event := map[string]any{}
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			delete(event, "time")
			got = append(got, event)
		}
		event := func(finished, failed, calls int, left ...int) map[string]any {
			e := map[string]any{
				"level": "INFO", "msg": "progress", "phase": "running", "rows": 1000.0, "accepted": 0.0,
				"finished": float64(finished), "failed": float64(failed), "calls": float64(calls),
			}
			for _, seconds := range left {
				e["left_seconds"] = float64(seconds)
			}
			return e
		}
		want := []map[string]any{event(430, 3, 60, 570), event(460, 6, 120, 540), event(490, 9, 180, 510), event(500, 10, 200)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestBurstAtTheStartIsWithinTheLimit(t *testing.T) {
	t.Parallel()
	usage := func(calls int64) batch.Progress {
		return batch.Progress{Phase: "running", Counts: batch.Counts{Rows: 9}, Accounts: []batch.SummaryAccount{{
			Usage: crm.Usage{Calls: calls, Limit: 20, Window: 5 * time.Second},
		}}}
	}
	p := &Progress{}
	p.sample(at, usage(0))
	p.sample(at.Add(500*time.Millisecond), usage(20))
	if got := p.text(at.Add(500*time.Millisecond), usage(20)); !strings.Contains(got, "4.0 calls/s of 4.0") {
		t.Errorf("20 calls in half a second, of 20 in 5 s: %q", got)
	}
}

func TestScreenKeepsTheStatusBelowTheLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := NewScreen(&out)
	write := func(text string) {
		if n, err := s.Write([]byte(text)); err != nil || n != len(text) {
			t.Errorf("Write returned %d, %v; want %d", n, err, len(text))
		}
	}
	write("one\n")
	s.Status("50%")
	write("two\n")
	s.Status("")
	write("three\n")
	want := "one\n" + clearLine + "50%" + clearLine + "two\n50%" + clearLine + "three\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
}

func TestScreenIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := NewScreen(&out)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				_, _ = s.Write([]byte("line\n"))
				s.Status("status")
			}
		})
	}
	wg.Wait()
	if n := strings.Count(out.String(), "line\n"); n != 800 {
		t.Errorf("%d whole lines, want 800", n)
	}
}

func TestRoughly(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "1s", 400 * time.Millisecond: "1s", 1600 * time.Millisecond: "2s", 90 * time.Second: "1m30s",
		11*time.Minute + 31*time.Second: "12m", 59*time.Minute + 59*time.Second: "60m", 100 * time.Minute: "1h40m", 30 * time.Hour: "30h00m",
	} {
		if got := roughly(d); got != want {
			t.Errorf("roughly(%v) is %q, want %q", d, got, want)
		}
	}
}

func TestProgressOfARunThatIsStopping(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		open int
		ago  time.Duration
		want string
	}{
		{3, 3 * time.Second, "stopping, 3 calls open, 22s at most"},
		{1, 20 * time.Second, "stopping, 1 call open, 5s at most"},
		{0, time.Second, "stopping"},
	} {
		state := batch.Progress{Phase: "running", Stopping: at.Add(-tc.ago), Counts: batch.Counts{Rows: 9}, Accounts: []batch.SummaryAccount{{Usage: crm.Usage{Open: tc.open}}}}
		if got := (&Progress{}).text(at, state); got != tc.want {
			t.Errorf("text is %q, want %q", got, tc.want)
		}
	}
}
