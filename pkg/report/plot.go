package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

// The edges of a plot's area, in units of its own: the page scales it, and writes around
// it. A picture is 720 wide and 210 high.
const (
	plotLeft, plotRight = 52.0, 712.0
	plotTop, plotBottom = 18.0, 186.0
)

const mostBars = 120

// plot is the calls of one account over time, ready to be drawn.
type plot struct {
	Left, Right, Top, Bottom float64 // edges of the area
	Bars                     []plotBar
	Pauses                   []plotBar
	X, Y                     []plotTick
	Limit                    *plotTick // nil if no limit is known
	Label, Caption           string
}

// plotBar is the calls of one stretch of time, or a pause.
type plotBar struct {
	X, Y, W, H float64
	Title      string
}

// plotTick is a mark on an axis, with where its text stands.
type plotTick struct {
	At, Text float64
	Label    string
}

// newPlot draws the account's calls until the run ended, or nothing if it made none.
func newPlot(a batch.SummaryAccount, ended time.Time) *plot {
	t := a.Timeline
	if len(t.Calls) == 0 || t.Step <= 0 {
		return nil
	}
	// A bar shows whole windows, so that the limit holds for each, and there are few enough.
	whole := max(1, int((a.Usage.Window+t.Step-1)/t.Step))
	merge := whole * ((len(t.Calls) + whole*mostBars - 1) / (whole * mostBars))
	width := time.Duration(merge) * t.Step
	var sums []int64
	for i, n := range t.Calls {
		if i%merge == 0 {
			sums = append(sums, 0)
		}
		sums[len(sums)-1] += n
	}
	// The axis of time ends with the run, but has all bars whatever the clock did.
	if last := t.Start.Add(time.Duration(len(sums)-1) * width); !ended.After(last) {
		ended = last.Add(width)
	}
	span := ended.Sub(t.Start)
	p := &plot{Left: plotLeft, Right: plotRight, Top: plotTop, Bottom: plotBottom}
	place := func(at time.Time) float64 {
		part := float64(at.Sub(t.Start)) / float64(span)
		return p.Left + min(max(part, 0), 1)*(p.Right-p.Left)
	}
	limit, top, most := 0.0, 0.0, int64(0)
	if a.Usage.Limit > 0 && a.Usage.Window > 0 {
		limit = float64(a.Usage.Limit) / a.Usage.Window.Seconds()
	}
	for _, n := range sums {
		top, most = max(top, float64(n)/width.Seconds()), max(most, n)
	}
	// The axis of rates ends at a round number above all of them.
	step := niceStep(max(top, limit) / 4)
	marks := max(1, math.Ceil(max(top, limit)*1.02/step))
	top = marks * step
	for i := 0.0; i <= marks; i++ {
		y := tenth(p.Bottom - i/marks*(p.Bottom-p.Top))
		p.Y = append(p.Y, plotTick{At: y, Text: y + 3.5, Label: plain(i * step)})
	}
	for _, pause := range t.Pauses {
		from, until := place(pause.From), place(pause.Until)
		if until > from {
			p.Pauses = append(p.Pauses, plotBar{
				X: tenth(from), Y: p.Top, W: max(0.5, tenth(until-from)), H: p.Bottom - p.Top,
				Title: fmt.Sprintf("paused from %s to %s UTC", utc(pause.From, time.TimeOnly), utc(pause.Until, time.TimeOnly)),
			})
		}
	}
	height := func(rate float64) float64 { return rate / top * (p.Bottom - p.Top) }
	for i, n := range sums {
		from := t.Start.Add(time.Duration(i) * width)
		left, room := place(from), place(from.Add(width))-place(from)
		w, h := room-min(room*0.12, 4), height(float64(n)/width.Seconds())
		p.Bars = append(p.Bars, plotBar{
			X: tenth(left + (room-w)/2), Y: tenth(p.Bottom - h), W: max(0.1, math.Floor(w*10)/10), H: tenth(h),
			Title: fmt.Sprintf("%s from %s to %s UTC", Count(n, "call"), utc(from, time.TimeOnly), utc(from.Add(width), time.TimeOnly)),
		})
	}
	if limit > 0 {
		y := tenth(p.Bottom - height(limit))
		p.Limit = &plotTick{At: y, Text: y - 4, Label: fmt.Sprintf("limit %d in %s", a.Usage.Limit, a.Usage.Window)}
	}
	p.times(t.Start, span)
	p.Caption = fmt.Sprintf("From the first call at %s to the end of the run at %s. Each bar is %s.", clock(t.Start), moment(ended), width)
	if len(p.Pauses) > 0 {
		p.Caption += " Shaded: the account was paused, because the CRM refused calls or did not answer."
	}
	if limit > 0 && a.Usage.Refused > 0 {
		p.Caption += " The limit is the one at the end of the run; a refusal may have lowered it on the way."
	}
	p.Label = fmt.Sprintf("Calls of account %s over time: %s in %s, at most %d in %s, %s.",
		Printable(a.Account), Count(a.Usage.Calls, "call"), took(span), most, width, Count(int64(len(p.Pauses)), "pause"))
	return p
}

// plain writes a rate for people, in the room beside an axis.
func plain(rate float64) string {
	switch {
	case rate >= 100_000:
		return group(int64(math.Round(rate/1000))) + "k"
	case rate >= 1000:
		return group(int64(math.Round(rate)))
	}
	// The steps are round, but not exact.
	return strconv.FormatFloat(math.Round(rate*1e6)/1e6, 'f', -1, 64)
}

// niceStep returns the smallest of 1, 2, 5, 10, 20, ... (and tenths of them) that is
// not below x.
func niceStep(x float64) float64 {
	if x <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(x)))
	for _, n := range []float64{1, 2, 5} {
		if n*unit >= x {
			return n * unit
		}
	}
	return 10 * unit
}

// times marks the axis of time, at moments that a clock shows as round.
func (p *plot) times(start time.Time, span time.Duration) {
	steps := []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour, 365 * 24 * time.Hour,
	}
	for len(steps) > 1 && span/steps[0] > 8 {
		steps = steps[1:]
	}
	step := steps[0]
	layout, half := "15:04", 14.0 // and half the width of such a text
	switch {
	case step < time.Minute:
		layout, half = time.TimeOnly, 23
	case span > 24*time.Hour:
		layout, half = "2 Jan 15:04", 30
	}
	for at := start.UTC().Add(step - 1).Truncate(step); at.Sub(start) <= span; at = at.Add(step) {
		x := tenth(p.Left + float64(at.Sub(start))/float64(span)*(p.Right-p.Left))
		// A text in the middle of its mark must not leave the picture.
		p.X = append(p.X, plotTick{At: x, Text: min(x, plotRight+6-half), Label: at.Format(layout)})
	}
}

// tenth rounds to what a picture needs.
func tenth(x float64) float64 { return math.Round(x*10) / 10 }
