package report

import (
	"bytes"
	"cmp"
	"fmt"
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
	// barWidth is the width of the bar itself, in characters. It leaves room for what
	// matters on a terminal of 80.
	barWidth = 12
)

// ProgressOptions say what a Progress shows where.
type ProgressOptions struct {
	Screen *Screen
	// Bar shows a bar at the bottom of the screen, which then must be a terminal.
	// Without it, a plain line is written every 30 seconds and one at the end.
	Bar bool
	// Width returns the width of the terminal, asked at each drawing; nil is 80.
	Width func() int
	// Get returns how the run stands.
	Get func() batch.Progress
	// Line writes a plain line; nil tells it to the screen, to machines in numbers.
	Line func(text string)
	// AcceptedIsDone counts accepted rows as done: nobody will ask about them.
	AcceptedIsDone bool
}

// Progress shows how a run stands until it is stopped.
type Progress struct {
	opts ProgressOptions
	stop chan struct{}
	done chan struct{}

	// The goroutine of run alone uses what follows.
	bar     *progressbar.ProgressBar
	drawn   bytes.Buffer
	began   time.Time // when work was first seen
	samples []sample
}

// sample is how many calls had been made at a time.
type sample struct {
	at    time.Time
	calls int64
}

// StartProgress begins to show progress. Whoever starts it calls Stop.
func StartProgress(opts ProgressOptions) *Progress {
	if opts.Width == nil {
		opts.Width = func() int { return 80 }
	}
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
			p.last()
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

func (p *Progress) last() {
	if p.opts.Bar {
		p.opts.Screen.Status("")
		return
	}
	now, state := time.Now(), p.opts.Get()
	state.Stopping = time.Time{} // it has stopped
	p.sample(now, state)
	p.line(now, state)
}

// line tells how the run stands where there is no bar.
func (p *Progress) line(now time.Time, state batch.Progress) {
	text := p.text(now, state)
	if p.opts.Line != nil {
		p.opts.Line(text)
		return
	}
	calls := int64(0)
	for _, a := range state.Accounts {
		calls += a.Usage.Calls
	}
	attrs := []slog.Attr{
		slog.String("phase", state.Phase), slog.Int64("rows", state.Counts.Rows), slog.Int64("finished", p.settled(state.Counts)),
		slog.Int64("failed", state.Counts.Failed), slog.Int64("accepted", state.Counts.Accepted), slog.Int64("calls", calls),
	}
	if left, ok := p.left(now, state); ok {
		attrs = append(attrs, slog.Float64("left_seconds", left.Round(time.Second).Seconds()))
	}
	p.opts.Screen.Tell(Event{Text: text + "\n", Name: "progress", Attrs: attrs})
}

// sample notes the calls made so far, and when work began.
func (p *Progress) sample(now time.Time, state batch.Progress) {
	calls := int64(0)
	for _, a := range state.Accounts {
		calls += a.Usage.Calls
	}
	if p.began.IsZero() && working(state) {
		p.began = now
		if !state.Started.IsZero() {
			p.began = state.Started
		}
	}
	p.samples = append(p.samples, sample{now, calls})
	for len(p.samples) > 2 && now.Sub(p.samples[1].at) >= rateOver {
		p.samples = p.samples[1:]
	}
}

func working(state batch.Progress) bool {
	return state.Phase == "running" || state.Phase == "confirming"
}

// settled returns how many rows need nothing more.
func (p *Progress) settled(c batch.Counts) int64 {
	if p.opts.AcceptedIsDone {
		return c.Settled() + c.Accepted
	}
	return c.Settled()
}

// draw shows the bar. It is drawn into memory, so that the screen gets one whole
// line at a time and the bar's own ideas of a terminal do not matter.
func (p *Progress) draw(now time.Time, state batch.Progress) {
	text := p.text(now, state)
	width := p.opts.Width() - 1
	if !working(state) || state.Counts.Rows == 0 {
		p.opts.Screen.Status(clip(text, width))
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(state.Counts.Rows,
			progressbar.OptionSetWriter(&p.drawn),
			progressbar.OptionSetWidth(barWidth),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetRenderBlankState(false))
	}
	// A bar that has reached its end draws no more; the run may still go on.
	_ = p.bar.Set64(min(p.settled(state.Counts), state.Counts.Rows-1))
	p.drawn.Reset()
	p.bar.Describe("")
	drawn := p.drawn.String()
	drawn = drawn[strings.LastIndexByte(drawn, '\r')+1:]
	drawn = strings.TrimSpace(strings.ReplaceAll(drawn, "\x1b[0K", ""))
	p.drawn.Reset()
	p.opts.Screen.Status(clip(drawn+" "+strings.TrimPrefix(text, state.Phase+": "), width))
}

// clip cuts a line to the width of the terminal: a line that wraps could not be
// drawn over.
func clip(s string, width int) string {
	r := []rune(s)
	if width > 0 && len(r) > width {
		return string(r[:width])
	}
	return s
}

// text says how the run stands, the more important first: on a narrow terminal the
// end is cut off.
func (p *Progress) text(now time.Time, state batch.Progress) string {
	c := state.Counts
	switch {
	case !working(state):
		return cmp.Or(state.Phase, "starting")
	case !state.Stopping.IsZero():
		return stopping(now, state)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d of %s done", state.Phase, p.settled(c), count(c.Rows, "row"))
	if c.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", c.Failed)
	}
	if c.Accepted > 0 && !p.opts.AcceptedIsDone {
		fmt.Fprintf(&b, ", %d to confirm", c.Accepted)
	}
	for _, a := range state.Accounts {
		if wait := a.Usage.PausedUntil.Sub(now); wait > 0 {
			fmt.Fprintf(&b, ", %s pauses for %s", a.Account, roughly(wait))
			if a.Usage.Why != "" {
				fmt.Fprintf(&b, " (%s)", Printable(a.Usage.Why))
			}
		}
	}
	if left, ok := p.left(now, state); ok {
		fmt.Fprintf(&b, ", about %s left", roughly(left))
	}
	b.WriteString(p.speed(state))
	return b.String()
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
	return fmt.Sprintf("stopping, %s open, %s at most", count(int64(open), "call"), roughly(most))
}

// speed says how many calls are made, against what the limits of all accounts
// allow.
func (p *Progress) speed(state batch.Progress) string {
	limit, window := 0.0, time.Duration(0)
	for _, a := range state.Accounts {
		if a.Usage.Window > 0 {
			limit += float64(a.Usage.Limit) / a.Usage.Window.Seconds()
			window = max(window, a.Usage.Window)
		}
	}
	text := fmt.Sprintf(", %.1f calls/s", p.rate(window))
	if limit > 0 {
		text += fmt.Sprintf(" of %.1f", limit)
	}
	return text
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

// left estimates how long the rest takes, from the pace of this run: what earlier
// runs settled tells nothing about it.
func (p *Progress) left(now time.Time, state batch.Progress) (time.Duration, bool) {
	settled := p.settled(state.Counts)
	done, rest := settled-state.Before, state.Counts.Rows-settled
	took := now.Sub(p.began)
	if done <= 0 || rest <= 0 || p.began.IsZero() || took <= 0 {
		return 0, false
	}
	return time.Duration(float64(took) / float64(done) * float64(rest)), true
}

// roughly writes a duration as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < time.Second:
		return "1s"
	case d < 10*time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute).Minutes()))
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// count writes a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// have is count with the verb that follows it.
func have(n int64, noun string) string {
	if n == 1 {
		return count(n, noun) + " has"
	}
	return count(n, noun) + " have"
}
