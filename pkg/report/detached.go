package report

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// mostKept is how much a Detached keeps of what nobody reads: more than an hour of
	// a run's messages.
	mostKept = 1 << 20
	// flushTime is how long Flush waits for a reader that takes nothing more.
	flushTime = 2 * time.Second
)

// Detached writes to something that may go away or stop reading at any moment: a
// terminal that is closed, a pipe. Write never fails and never waits for a reader, so
// that what is shown can not hold up, or end, what is done. What finds no place is
// dropped, and counted.
type Detached struct {
	w io.Writer
	// Missed returns the line that tells of so many that were dropped; nil tells nothing.
	Missed func(lines int) []byte

	mu      sync.Mutex // guards what follows
	kept    []byte
	missed  int           // lines that were dropped since the last that was kept
	writing bool          // the goroutine of drain is there
	back    chan struct{} // closed when the next write comes back
}

// NewDetached returns a writer to w. Whoever writes to it calls Flush at the end.
func NewDetached(w io.Writer) *Detached { return &Detached{w: w, back: make(chan struct{})} }

// Write keeps p and returns.
func (d *Detached) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.kept)+len(p) > mostKept {
		d.missed += max(1, bytes.Count(p, []byte{'\n'}))
		return len(p), nil
	}
	d.kept = append(d.kept, p...)
	if !d.writing {
		d.writing = true
		// It ends when nothing is left to be written. A write that never comes back can not
		// be called off: it ends with the process.
		go d.drain()
	}
	return len(p), nil
}

// drain writes what is kept until nothing is.
func (d *Detached) drain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.kept) > 0 {
		text, missed := d.kept, d.missed
		d.kept, d.missed = nil, 0
		d.mu.Unlock()
		if missed > 0 && d.Missed != nil {
			text = append(text, d.Missed(missed)...)
		}
		// A reader that has gone away is no reason to stop anything.
		_, _ = d.w.Write(text)
		d.mu.Lock()
		close(d.back)
		d.back = make(chan struct{})
	}
	d.writing = false
}

// Flush waits until everything is written, or nothing has been taken for two seconds.
func (d *Detached) Flush() {
	for {
		d.mu.Lock()
		writing, back := d.writing, d.back
		d.mu.Unlock()
		if !writing {
			return
		}
		timer := time.NewTimer(flushTime)
		select {
		case <-back:
			timer.Stop()
		case <-timer.C:
			return
		}
	}
}
