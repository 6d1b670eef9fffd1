package transport

import (
	"slices"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const (
	// mostSteps bounds a timeline: twice what a plot of a page's width can show.
	mostSteps = 600
	// longestFirst bounds the first step, so that a run under a limit per hour does
	// not end as one bar.
	longestFirst = 10 * time.Second
	// mostPauses bounds the pauses of a timeline: two that are closer than a hundredth of a
	// run are not told apart in a plot.
	mostPauses = 100
)

// timeline counts calls by when they were sent, in at most mostSteps steps: when
// they are full, each two become one and the step doubles. Of more than mostPauses
// pauses, the two that are closest become one. Its fields are guarded by Gate.mu.
type timeline struct {
	start  time.Time
	step   time.Duration
	calls  []int64
	pauses []crm.Pause
}

// firstStep returns the step to begin with: the window itself, or a half, a
// quarter, ... of it. Steps that are doubled then make whole windows, and a whole
// window can hold no more calls than the limit; a step that is no part of a window
// could seem to.
func firstStep(window time.Duration) time.Duration {
	for window > longestFirst {
		window /= 2
	}
	return window
}

// add counts a call. One from before the start, after a clock was set back, counts
// as the first.
func (t *timeline) add(at time.Time) {
	if t.start.IsZero() {
		t.start = at
	}
	i := int64(max(0, at.Sub(t.start)) / t.step)
	for i >= mostSteps {
		t.double()
		i /= 2
	}
	for int64(len(t.calls)) <= i {
		t.calls = append(t.calls, 0)
	}
	t.calls[i]++
}

// double makes one step of each two.
func (t *timeline) double() {
	t.step *= 2
	half := (len(t.calls) + 1) / 2
	for i := range half {
		sum := t.calls[2*i]
		if 2*i+1 < len(t.calls) {
			sum += t.calls[2*i+1]
		}
		t.calls[i] = sum
	}
	t.calls = t.calls[:half]
}

// pause notes that calls are stopped. A pause that begins before the last one is over
// lengthens it.
func (t *timeline) pause(from, until time.Time) {
	if last := len(t.pauses) - 1; last >= 0 && !from.After(t.pauses[last].Until) {
		if until.After(t.pauses[last].Until) {
			t.pauses[last].Until = until
		}
		return
	}
	if t.pauses = append(t.pauses, crm.Pause{From: from, Until: until}); len(t.pauses) <= mostPauses {
		return
	}
	closest := 1
	gap := func(i int) time.Duration { return t.pauses[i].From.Sub(t.pauses[i-1].Until) }
	for i := range t.pauses {
		if i > 0 && gap(i) < gap(closest) {
			closest = i
		}
	}
	t.pauses[closest-1].Until = t.pauses[closest].Until
	t.pauses = slices.Delete(t.pauses, closest, closest+1)
}

// copy returns what was counted, the zero value if nothing was.
func (t *timeline) copy() crm.Timeline {
	if t.start.IsZero() {
		return crm.Timeline{}
	}
	return crm.Timeline{Start: t.start, Step: t.step, Calls: slices.Clone(t.calls), Pauses: slices.Clone(t.pauses)}
}
