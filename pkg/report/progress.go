package report

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

const (
	// barEvery is how often the bar is drawn: often enough to look alive, seldom
	// enough to cost nothing over a slow line.
	barEvery = 250 * time.Millisecond
	// lineEvery is how often a plain line is written where there is no terminal.
	lineEvery = 30 * time.Second
	// rateOver is the time over which the calls per second are measured.
	rateOver = 10 * time.Second
	// narrow is the width of a terminal that has no room for the bar itself. On a wider one
	// the bar has an eighth of the width: what matters fits beside it on a terminal of 80.
	narrow = 60
	// wholeBar is what the bar counts to.
	wholeBar = 100
)

// ProgressOptions say what a Progress shows where.
type ProgressOptions struct {
	Screen *Screen
	// Bar shows a bar at the bottom of the screen, which then must be a terminal.
	// Without it, a plain line is written every 30 seconds and one at the end.
	Bar bool
	// Width returns the width of the terminal; the bar asks at each drawing.
	Width func() int
	// Get returns how the run stands.
	Get func() batch.Progress
	// AcceptedIsDone counts accepted rows as done: nobody will ask about them.
	AcceptedIsDone bool
	// Noun is what is counted, "row" if empty.
	Noun string
}

// Progress shows how a run stands until it is stopped.
type Progress struct {
	opts ProgressOptions
	stop chan struct{}
	done chan struct{}
	// samples are used by the goroutine of run alone.
	samples []sample
}

// sample is how many calls had been made at a time, those before the run began too.
type sample struct {
	at    time.Time
	calls int64
}

// StartProgress begins to show progress. Whoever starts it calls Stop.
func StartProgress(opts ProgressOptions) *Progress {
	p := &Progress{opts: opts, stop: make(chan struct{}), done: make(chan struct{})}
	go p.run()
	return p
}

// Stop takes the bar away, or writes the last line, and returns when nothing more
// will be shown. It is called once.
func (p *Progress) Stop() {
	close(p.stop)
	<-p.done
}

func (p *Progress) run() {
	defer close(p.done)
	tick := time.NewTicker(barEvery)
	defer tick.Stop()
	nextLine := time.Now().Add(lineEvery)
	for {
		select {
		case <-p.stop:
			if p.opts.Bar {
				p.opts.Screen.Status("")
				return
			}
			now, state := time.Now(), p.opts.Get()
			state.Stopping = time.Time{} // it has stopped
			p.sample(now, state)
			p.line(now, state)
			return
		case now := <-tick.C:
			state := p.opts.Get()
			p.sample(now, state)
			if p.opts.Bar {
				p.draw(now, state)
			} else if !now.Before(nextLine) {
				p.line(now, state)
				nextLine = nextLine.Add(lineEvery)
			}
		}
	}
}

// sample notes the calls made so far.
func (p *Progress) sample(now time.Time, state batch.Progress) {
	calls := int64(0)
	for _, a := range state.Accounts {
		calls += a.Usage.Calls
	}
	p.samples = append(p.samples, sample{now, calls})
	for len(p.samples) > 2 && now.Sub(p.samples[1].at) >= rateOver {
		p.samples = p.samples[1:]
	}
}

// line tells how the run stands where there is no bar. The calls are sampled.
func (p *Progress) line(now time.Time, state batch.Progress) {
	attrs := []slog.Attr{
		slog.String("phase", state.Phase), slog.Int64("rows", state.Counts.Rows), slog.Int64("finished", p.finished(state.Counts)),
		slog.Int64("failed", state.Counts.Failed), slog.Int64("accepted", state.Counts.Accepted), slog.Int64("calls", p.samples[len(p.samples)-1].calls),
	}
	if left := timeLeft(state); left > 0 {
		attrs = append(attrs, slog.Float64("left_seconds", left.Round(time.Second).Seconds()))
	}
	p.opts.Screen.Tell(Event{Text: p.text(now, state) + "\n", Name: "progress", Attrs: attrs})
}

// working says whether the run is at its rows and is to go on.
func working(state batch.Progress) bool {
	return state.Phase == batch.PhaseRunning && state.Stopping.IsZero()
}

// timeLeft returns how long the run still takes, 0 where that is not known: before it
// has begun, when it is to stop, and at its end.
func timeLeft(state batch.Progress) time.Duration {
	if !working(state) {
		return 0
	}
	return state.TimeLeft
}

// finished returns how many rows need nothing more.
func (p *Progress) finished(c batch.Counts) int64 {
	if p.opts.AcceptedIsDone {
		return c.Ended() + c.Accepted
	}
	return c.Ended()
}

// draw shows how the run stands in one line of the terminal, with the bar where there is
// room for it. What is over is not shown any more, so that the bar ends before 100.
func (p *Progress) draw(now time.Time, state batch.Progress) {
	width := p.opts.Width() - 1
	text := p.text(now, state)
	percent := int64(0)
	if all := state.CallsMade + state.CallsLeft; all > 0 {
		percent = min(wholeBar*state.CallsMade/all, wholeBar-1)
	}
	switch {
	case !working(state):
	case width < narrow:
		text = fmt.Sprintf("%d%% %d/%d", percent, p.finished(state.Counts), state.Counts.Rows)
		if left := timeLeft(state); left > 0 {
			text += " " + roughly(left) + " left"
		}
		text += p.details(now, state)
	default:
		text = bar(percent, width/8) + " " + strings.TrimPrefix(text, state.Phase+": ")
	}
	// A line that wraps could not be drawn over.
	if runes := []rune(text); width > 0 && len(runes) > width {
		text = string(runes[:width])
	}
	p.opts.Screen.Status(text)
}

// bar returns the bar with its percentage. It is drawn nowhere but into its own memory,
// so that the screen gets one whole line at a time and the bar's own ideas of a terminal
// do not matter.
func bar(percent int64, width int) string {
	b := progressbar.NewOptions64(wholeBar,
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionSetWidth(width),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetRenderBlankState(false))
	_ = b.Set64(percent)
	b.Describe("") // which draws it at 0 too
	return strings.TrimSpace(b.String())
}

// text says how the run stands, the more important first: on a narrow terminal the
// end is cut off.
func (p *Progress) text(now time.Time, state batch.Progress) string {
	switch {
	case state.Phase != batch.PhaseRunning:
		return cmp.Or(state.Phase, "starting")
	case !working(state):
		return stopping(now, state)
	}
	text := fmt.Sprintf("%s: %d of %s done", state.Phase, p.finished(state.Counts), Count(state.Counts.Rows, cmp.Or(p.opts.Noun, "row")))
	if left := timeLeft(state); left > 0 {
		text += fmt.Sprintf(", about %s left", roughly(left))
	}
	return text + p.details(now, state)
}

// stopping says what a run that was asked to end still waits for.
func stopping(now time.Time, state batch.Progress) string {
	open := 0
	for _, a := range state.Accounts {
		open += a.Usage.Open
	}
	if open == 0 {
		return "stopping"
	}
	most := batch.DrainLimit - now.Sub(state.Stopping)
	return fmt.Sprintf("stopping, %s open, %s at most", Count(int64(open), "call"), roughly(most))
}

// details says what is of interest beside rows and time: what went wrong, what is still
// to confirm, pauses, and how many calls are made a second, against what the limits of
// all accounts allow.
func (p *Progress) details(now time.Time, state batch.Progress) string {
	var b strings.Builder
	c := state.Counts
	if c.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", c.Failed)
	}
	if c.Accepted > 0 && !p.opts.AcceptedIsDone {
		fmt.Fprintf(&b, ", %d to confirm", c.Accepted)
	}
	limit, window := 0.0, time.Duration(0)
	for _, a := range state.Accounts {
		if wait := a.Usage.PausedUntil.Sub(now); wait > 0 {
			fmt.Fprintf(&b, ", %s pauses for %s", a.Account, roughly(wait))
			if a.Usage.Why != "" {
				fmt.Fprintf(&b, " (%s)", Printable(a.Usage.Why))
			}
		}
		if a.Usage.Window > 0 {
			limit += float64(a.Usage.Limit) / a.Usage.Window.Seconds()
			window = max(window, a.Usage.Window)
		}
	}
	fmt.Fprintf(&b, ", %.1f calls/s", p.rate(window))
	if limit > 0 {
		fmt.Fprintf(&b, " of %.1f", limit)
	}
	return b.String()
}

// rate returns the calls per second of late, over no less than the window of the
// limit: the burst that a run starts with is within it.
func (p *Progress) rate(window time.Duration) float64 {
	if len(p.samples) < 2 {
		return 0
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	if seconds := max(last.at.Sub(first.at), window).Seconds(); seconds > 0 {
		return float64(last.calls-first.calls) / seconds
	}
	return 0
}
