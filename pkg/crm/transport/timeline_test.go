package transport

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestTimelineCountsWhatUsageCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 2, Window: 5 * time.Second})
		if got := g.Timeline(); !cmp.Equal(got, crm.Timeline{}) {
			t.Errorf("before the first call the timeline is %+v, want the zero value", got)
		}
		time.Sleep(time.Hour)
		start := time.Now()
		for range 4 { // two at once, then two when the slots have come back
			s := acquire(t, g)
			s.Sent()
			s.Sent()
			s.Done()
		}
		acquire(t, g).Unused() // never sent, never counted
		want := crm.Timeline{Start: start, Step: 5 * time.Second, Calls: []int64{2, 2}}
		got := g.Timeline()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("timeline (-want +got):\n%s", diff)
		}
		got.Calls[0] = 99
		if again := g.Timeline(); again.Calls[0] != 2 || g.Usage().Calls != 4 {
			t.Errorf("the gate has %d calls, %d of them in the first step; want 4 and 2", g.Usage().Calls, again.Calls[0])
		}
	})
}

func TestTimelineStaysBounded(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	tests := map[string]struct {
		window, last time.Duration // the last call comes so long after the first
		every        time.Duration
		step         time.Duration // want
		steps        int
	}{
		"within the first steps": {time.Second, 599 * time.Second, time.Second, time.Second, 600},
		"one step too many":      {time.Second, 600 * time.Second, time.Second, 2 * time.Second, 301},
		"a day":                  {5 * time.Second, 24 * time.Hour, 700 * time.Millisecond, 160 * time.Second, 540},
		"a long silence":         {time.Second, 1000 * time.Hour, 500 * time.Hour, 8192 * time.Second, 440},
		"a limit per hour":       {time.Hour, time.Minute, time.Second, time.Hour / 512, 9},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tl := timeline{step: firstStep(tc.window)}
			calls := int64(0)
			for at := time.Duration(0); at <= tc.last; at += tc.every {
				tl.add(start.Add(at))
				calls++
			}
			tl.add(start.Add(-time.Hour))
			calls++
			got, sum := tl.copy(), int64(0)
			for _, n := range got.Calls {
				sum += n
			}
			if got.Step != tc.step || len(got.Calls) != tc.steps || sum != calls || !got.Start.Equal(start) {
				t.Errorf("%d steps of %v with %d calls from %v, want %d of %v with %d from %v",
					len(got.Calls), got.Step, sum, got.Start, tc.steps, tc.step, calls, start)
			}
		})
	}
}

func TestTimelineStepsMakeWholeWindows(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{time.Millisecond, time.Second, 5 * time.Second, time.Minute, time.Hour} {
		step := firstStep(window)
		for step < window {
			step *= 2
		}
		if step != window {
			t.Errorf("steps doubled from %v never make a window of %v", firstStep(window), window)
		}
	}
}

func TestTimelineHasThePauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(t, GateConfig{Limit: 2, Window: time.Second})
		s := acquire(t, g)
		s.Sent()
		s.Done()
		pause := func(wait time.Duration) time.Time {
			g.standBy(wait)
			return time.Now()
		}
		first := pause(10 * time.Second)
		time.Sleep(4 * time.Second)
		longer := pause(20 * time.Second) // the same pause, lengthened
		pause(time.Second)                // and not shortened
		time.Sleep(time.Minute)
		second := pause(time.Hour) // no longer than any pause may be
		want := []crm.Pause{{From: first, Until: longer.Add(20 * time.Second)}, {From: second, Until: second.Add(maxPause)}}
		if diff := cmp.Diff(want, g.Timeline().Pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
	})
}

func TestTimelineKeepsFewPauses(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	tl := timeline{start: start, step: time.Second}
	// Each pair is close together, and the pairs are apart.
	for i := range mostPauses {
		from := start.Add(time.Duration(i) * time.Hour)
		tl.pause(from, from.Add(time.Minute))
		tl.pause(from.Add(2*time.Minute), from.Add(3*time.Minute))
	}
	got := tl.copy().Pauses
	if len(got) != mostPauses {
		t.Fatalf("%d pauses, want %d", len(got), mostPauses)
	}
	for i, p := range got {
		from := start.Add(time.Duration(i) * time.Hour)
		if want := (crm.Pause{From: from, Until: from.Add(3 * time.Minute)}); p != want {
			t.Errorf("pause %d is %v, want %v", i, p, want)
		}
	}
}
