package report

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// plotted returns the plot of a run with so many calls in each step.
func plotted(step, window time.Duration, limit int, calls ...int64) *plot {
	return newPlot(batch.SummaryAccount{
		Account: "main", Usage: crm.Usage{Calls: 1, Limit: limit, Window: window},
		Timeline: crm.Timeline{Start: at, Step: step, Calls: calls},
	})
}

func TestPlotHasNothingToDraw(t *testing.T) {
	t.Parallel()
	if p := plotted(time.Second, time.Second, 1); p != nil {
		t.Errorf("a run without calls has the plot %+v, want none", p)
	}
}

func TestPlotBarsStandForWholeWindows(t *testing.T) {
	t.Parallel()
	full := make([]int64, 600)
	for i := range full {
		full[i] = 20
	}
	for name, tc := range map[string]struct {
		step, window time.Duration
		calls        []int64
		bars         int
		width        string
	}{
		"one step":                {5 * time.Second, 5 * time.Second, full[:1], 1, "5s"},
		"as many as fit":          {5 * time.Second, 5 * time.Second, full[:120], 120, "5s"},
		"one more than fits":      {5 * time.Second, 5 * time.Second, full[:121], 61, "10s"},
		"parts of a window":       {7500 * time.Millisecond, time.Minute, full[:16], 2, "1m0s"},
		"a full timeline":         {160 * time.Second, 5 * time.Second, full, 120, "13m20s"},
		"parts, and too many":     {7500 * time.Millisecond, time.Minute, full, 75, "1m0s"},
		"a window that is longer": {time.Second, 2500 * time.Millisecond, full[:6], 2, "3s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plotted(tc.step, tc.window, 20, tc.calls...)
			if len(p.Bars) != tc.bars || !strings.Contains(p.Caption, "Each bar is "+tc.width+".") {
				t.Errorf("%d bars, %q; want %d bars of %s", len(p.Bars), p.Caption, tc.bars, tc.width)
			}
			for i, b := range p.Bars {
				if b.X < p.Left || b.X+b.W > p.Right || b.Y < p.Top || math.Abs(b.Y+b.H-p.Bottom) > 0.11 {
					t.Fatalf("bar %d leaves the area: %+v", i, b)
				}
			}
		})
	}
}

// What the gate lets through is at most the limit in each window, and must not look
// like more; what is more must not look like less.
func TestPlotShowsTheLimitWhereItIs(t *testing.T) {
	t.Parallel()
	p := plotted(5*time.Second, 5*time.Second, 20, 20, 10, 0, 21)
	if p.Limit == nil || p.Limit.Label != "limit 20 in 5s" {
		t.Fatalf("the limit is %+v", p.Limit)
	}
	if got := p.Bars[0].Y; got != p.Limit.At {
		t.Errorf("a bar with as many calls as the limit ends at %v, the limit is at %v", got, p.Limit.At)
	}
	if half := p.Bars[1].H * 2; math.Abs(half-p.Bars[0].H) > 0.2 {
		t.Errorf("half the calls have half of %v, want of %v", half, p.Bars[0].H)
	}
	if p.Bars[2].H != 0 || p.Bars[3].Y >= p.Limit.At {
		t.Errorf("no call has height %v, one call too many ends at %v below the limit at %v", p.Bars[2].H, p.Bars[3].Y, p.Limit.At)
	}
	if p.Bars[0].Title != "20 calls from 02:35:31 to 02:35:36 UTC" {
		t.Errorf("the first bar says %q", p.Bars[0].Title)
	}
	if p := plotted(time.Second, 0, 0, 3); p.Limit != nil {
		t.Errorf("without a limit one is drawn: %+v", p.Limit)
	}
}

func TestPlotMarksRoundTimes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		step  time.Duration
		calls int
		first string
	}{
		"seconds": {time.Second, 12, "02:35:32"},
		"minutes": {5 * time.Second, 100, "02:36"},
		"hours":   {160 * time.Second, 200, "03:00"},
		"days":    {1280 * time.Second, 400, "23 Nov 00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plotted(tc.step, time.Second, 1, make([]int64, tc.calls)...)
			if len(p.X) < 3 || len(p.X) > 9 || p.X[0].Label != tc.first {
				t.Errorf("the marks are %+v, want 3 to 9 from %s", p.X, tc.first)
			}
			for _, x := range p.X {
				if x.At < p.Left || x.At > p.Right {
					t.Errorf("a mark is at %v, outside %v to %v", x.At, p.Left, p.Right)
				}
			}
		})
	}
}

func TestNiceStep(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]float64{0: 1, 0.03: 0.05, 0.9: 1, 1: 1, 1.1: 2, 4: 5, 6: 10, 70: 100, 250: 500} {
		if got := niceStep(x); math.Abs(got-want) > 1e-9 {
			t.Errorf("niceStep(%v) = %v, want %v", x, got, want)
		}
	}
}
