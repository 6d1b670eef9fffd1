package transport

import (
	"encoding/json"
	"log/slog"
	"slices"
	"time"
)

// Past is what is known of an account's calls when its gate changes hands between
// processes that share no folder. It holds no moment of anybody's clock, only how long ago
// or how far ahead things were when it was written.
type Past struct {
	// Text is what Gate.Past returned; nil if there was none.
	Text []byte
	// Age is for how long it has been kept since.
	Age time.Duration
	// Missed is for how long after it was written calls may have gone on that it does not
	// tell of; 0 if it is complete. They count as calls of the day, as many as the limit
	// lets be made. Of the window's bound GateConfig.Quiet takes care.
	Missed time.Duration
}

// pastText is the form of Past.Text.
type pastText struct {
	Back  []int64    `json:"back,omitempty"`  // milliseconds until each slot that is held comes back
	Days  [][2]int64 `json:"days,omitempty"`  // calls of the day: how many buckets ago, and how many
	Quiet int64      `json:"quiet,omitempty"` // milliseconds for which nothing may be sent
}

// Past returns what the next gate on the account, in whatever process, must know of the
// calls that were made through this one. It may be called at any time, also after Close.
func (g *Gate) Past() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	var p pastText
	for _, h := range g.slots {
		at, ok := h.back(g.window)
		if h.state == holdOpen {
			at, ok = now.Add(2*g.window), true
		}
		if left := at.Sub(now); ok && left > 0 {
			p.Back = append(p.Back, int64((left+time.Millisecond-1)/time.Millisecond))
		}
	}
	slices.Sort(p.Back)
	if left := g.quiet.Sub(now); left > 0 {
		p.Quiet = int64((left + time.Millisecond - 1) / time.Millisecond)
	}
	if g.daily != nil {
		for _, b := range g.daily.buckets {
			if ago := bucketOf(now) - b.number; b.calls > 0 && ago < dailyBuckets {
				p.Days = append(p.Days, [2]int64{max(0, ago), b.calls})
			}
		}
	}
	text, _ := json.Marshal(p) // numbers alone: it can not fail
	return text
}

// read returns what the text says, and false if it can not be read.
func (p *Past) read() (t pastText, ok bool) {
	if p == nil || p.Text == nil {
		return t, true
	}
	err := json.Unmarshal(p.Text, &t)
	return t, err == nil && len(t.Back) <= 4*mostSlots
}

// quiet returns for how long nothing may be sent from now on.
func (p *Past) quiet() time.Duration {
	t, _ := p.read()
	if p == nil {
		return 0
	}
	return time.Duration(t.Quiet)*time.Millisecond - p.Age
}

// held returns the slots that have not come back yet.
func (p *Past) held(n int, window time.Duration, now time.Time, log *slog.Logger) (held []hold) {
	t, ok := p.read()
	if !ok {
		log.Warn("what is kept of earlier calls can not be read: waiting as if all had been sent just now", "slots", n)
		return slices.Repeat([]hold{{state: holdCut, sent: now}}, n)
	}
	for _, ms := range t.Back {
		if left := time.Duration(ms)*time.Millisecond - p.Age; left > 0 {
			done := now.Add(left - window)
			held = append(held, hold{state: holdDone, sent: done, done: done})
		}
	}
	return held
}

// count adds the calls of the day, and those that may have been made since.
func (p *Past) count(d *daily, n int, window time.Duration, now time.Time) {
	t, _ := p.read()
	if p == nil {
		return
	}
	number := bucketOf(now)
	for _, b := range t.Days {
		if ago := b[0] + int64(p.Age/bucketLength); ago >= 0 && ago < dailyBuckets && b[1] > 0 {
			d.add(number-ago, b[1])
		}
	}
	if p.Missed > 0 {
		d.add(number, int64(n)*int64((p.Missed+2*window-1)/window))
	}
}
