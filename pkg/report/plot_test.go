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
	}, time.Time{})
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

// The axis ends with the run, and the last bar with the axis.
func TestPlotEndsWithTheRun(t *testing.T) {
	t.Parallel()
	account := batch.SummaryAccount{
		Account: "main", Usage: crm.Usage{Calls: 28, Limit: 25, Window: 5 * time.Second},
		Timeline: crm.Timeline{Start: at, Step: 5 * time.Second, Calls: []int64{25, 3}},
	}
	for name, tc := range map[string]struct {
		ended time.Duration // after the first call
		until string
		half  float64 // where the second bar begins, as a part of the axis
	}{
		"within the last bar":   {5500 * time.Millisecond, "02:35:36", 5 / 5.5},
		"after it":              {20 * time.Second, "02:35:51", 0.25},
		"not known":             {-time.Hour, "02:35:41", 0.5},
		"before the last began": {5 * time.Second, "02:35:41", 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlot(account, at.Add(tc.ended))
			if !strings.Contains(p.Caption, "the end of the run at 2026-11-22 "+tc.until+" UTC.") {
				t.Errorf("the caption is %q", p.Caption)
			}
			second := p.Left + tc.half*(p.Right-p.Left)
			for i, b := range p.Bars {
				if b.X < p.Left || b.X+b.W > p.Right || (b.X < second) != (i == 0) {
					t.Errorf("bar %d is %+v, the second begins at %v", i, b, second)
				}
			}
			for _, x := range p.X {
				if x.Label > tc.until {
					t.Errorf("the axis goes on to %s, the run ended at %s", x.Label, tc.until)
				}
			}
		})
	}
}

func TestPlotShadesPauses(t *testing.T) {
	t.Parallel()
	p := newPlot(batch.SummaryAccount{
		Account: "main", Usage: crm.Usage{Calls: 2},
		Timeline: crm.Timeline{Start: at, Step: time.Second, Calls: []int64{1, 0, 0, 0, 0, 0, 0, 0, 0, 1}, Pauses: []crm.Pause{
			{From: at.Add(-2 * time.Second), Until: at.Add(-time.Second)}, // before the axis begins
			{From: at.Add(2 * time.Second), Until: at.Add(5 * time.Second)},
			{From: at.Add(9 * time.Second), Until: at.Add(time.Hour)}, // the run did not wait for its end
		}},
	}, at.Add(10*time.Second))
	width := p.Right - p.Left
	if len(p.Pauses) != 2 {
		t.Fatalf("the pauses are %+v, want two of three", p.Pauses)
	}
	for i, want := range [][2]float64{{0.2, 0.3}, {0.9, 0.1}} {
		if got := p.Pauses[i]; math.Abs(got.X-(p.Left+want[0]*width)) > 0.1 || math.Abs(got.W-want[1]*width) > 0.1 {
			t.Errorf("pause %d is %+v, want %v of the axis", i, got, want)
		}
	}
	if got := p.Pauses[0].Title; got != "paused from 02:35:33 to 02:35:36 UTC" {
		t.Errorf("the pause says %q", got)
	}
	if !strings.Contains(p.Caption, "Shaded: ") || !strings.Contains(p.Label, "2 pauses") {
		t.Errorf("caption %q, label %q", p.Caption, p.Label)
	}
}

// The axis of rates has plain numbers that fit beside it.
func TestPlain(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]string{
		0: "0", 3 * 0.1: "0.3", 0.002: "0.002", 2.5: "2.5", 40: "40", 1000: "1,000", 15_000: "15,000", 120_000: "120k", 3_000_000: "3,000k",
	} {
		if got := plain(rate); got != want {
			t.Errorf("plain(%v) = %q, want %q", rate, got, want)
		}
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
