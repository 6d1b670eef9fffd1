package transport

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestStampsOutliveTheProcess: a gate on the store of one that was killed waits for
// the slots that the other one held.
func TestStampsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Second
	tests := map[string]struct {
		before func(t *testing.T, g *Gate) // at most 10 s long
		limit  int
		want   time.Duration // the wait for the first call of a gate opened after 10 s
	}{
		"nothing":            {func(t *testing.T, g *Gate) {}, 1, 0},
		"acquired, unsent":   {func(t *testing.T, g *Gate) { acquire(t, g) }, 1, 0},
		"completed just so":  {func(t *testing.T, g *Gate) { sendAt(t, g, 7*time.Second, (*Slot).Done) }, 1, 2 * time.Second},
		"completed long ago": {func(t *testing.T, g *Gate) { sendAt(t, g, 4*time.Second, (*Slot).Done) }, 1, 0},
		"cut off":            {func(t *testing.T, g *Gate) { sendAt(t, g, 4*time.Second, func(*Slot) {}) }, 1, 4 * time.Second},
		"cut off long ago":   {func(t *testing.T, g *Gate) { acquireSent(t, g) }, 1, 0},
		"given up":           {func(t *testing.T, g *Gate) { sendAt(t, g, 4*time.Second, (*Slot).GaveUp) }, 1, 19 * time.Second},
		"never left":         {func(t *testing.T, g *Gate) { sendAt(t, g, 9*time.Second, (*Slot).Unused) }, 1, 0},
		"one of two":         {func(t *testing.T, g *Gate) { sendAt(t, g, 9*time.Second, (*Slot).Done) }, 2, 0},
		"more than now": {func(t *testing.T, g *Gate) {
			for range 4 {
				sendAt(t, g, time.Second, (*Slot).Done)
				sendAt(t, g, time.Second, func(*Slot) {})
			}
			// Of those completed, the one of 7 s is still out and comes back at 12 s; those cut
			// off, of 2, 4, 6 and 8 s, come back at 12, 14, 16 and 18 s. A call may go when
			// one of these five is left.
		}, 2, 6 * time.Second},
		"closed in time": {func(t *testing.T, g *Gate) {
			sendAt(t, g, 9*time.Second, (*Slot).Done)
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}, 1, 4 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, err := OpenStore(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				tt.before(t, newTestGate(t, GateConfig{Limit: 10, Window: window, Store: store}))
				time.Sleep(time.Until(begin.Add(10 * time.Second)))
				g := newTestGate(t, GateConfig{Limit: tt.limit, Window: window, Store: store})
				if _, took := acquireSent(t, g); took != tt.want {
					t.Errorf("the first call waited %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// sendAt sends a call after a while and ends its slot.
func sendAt(t *testing.T, g *Gate, after time.Duration, end func(*Slot)) {
	t.Helper()
	time.Sleep(after)
	s, _ := acquireSent(t, g)
	end(s)
}

// testClock is a boot clock that goes with the time of the test, which is what the wall
// clock shows, less what the wall clock has been put forward by.
func testClock(forward *time.Duration) bootClock {
	return bootClock{boot: [16]byte{'t'}, up: func() time.Duration {
		up := time.Since(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC))
		if forward != nil {
			up -= *forward
		}
		return up
	}}
}

// TestStampsAndSetClocks: setting the wall clock, by whoever and wherever in between,
// makes no room for a call; a restart that nothing has happened to waits no longer for it.
func TestStampsAndSetClocks(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Second
	done, cut := (*Slot).Done, func(*Slot) {}
	startedAgo := func(up time.Duration) func(bootClock) bootClock {
		return func(bootClock) bootClock {
			return bootClock{boot: [16]byte{'u'}, up: func() time.Duration { return up }}
		}
	}
	tests := map[string]struct {
		end     func(*Slot)
		during  time.Duration // the wall clock is put forward by it before the call is ended
		between time.Duration // and by this after the kill
		passes  time.Duration // from the sending to the next gate, in truth
		next    func(bootClock) bootClock
		want    time.Duration
	}{
		"not set, completed":                     {done, 0, 0, 2 * time.Second, nil, 3 * time.Second},
		"not set, cut off":                       {cut, 0, 0, 2 * time.Second, nil, 8 * time.Second},
		"not set, long ago":                      {cut, 0, 0, time.Hour, nil, 0},
		"put forward, completed":                 {done, 0, time.Hour, 2 * time.Second, nil, 3 * time.Second},
		"put forward, cut off":                   {cut, 0, time.Hour, 2 * time.Second, nil, 8 * time.Second},
		"put forward a little":                   {cut, 0, 6 * time.Second, 2 * time.Second, nil, 8 * time.Second},
		"put forward, long ago":                  {cut, 0, time.Hour, time.Hour, nil, 0},
		"put forward during the call":            {done, time.Hour, 0, 2 * time.Second, nil, 3 * time.Second},
		"put forward during the call, then more": {done, time.Hour, time.Minute, 2 * time.Second, nil, 3 * time.Second},
		"put back, completed":                    {done, 0, -time.Hour, time.Hour + 2*time.Second, nil, 3 * time.Second},
		"put back, cut off":                      {cut, 0, -time.Hour, time.Hour + 2*time.Second, nil, 8 * time.Second},
		"started again, put forward, completed":  {done, 0, time.Hour, 3 * time.Second, startedAgo(2 * time.Second), 3 * time.Second},
		"started again, put forward, cut off":    {cut, 0, time.Hour, 3 * time.Second, startedAgo(2 * time.Second), 8 * time.Second},
		"started again, not set":                 {cut, 0, 0, 30 * time.Second, startedAgo(20 * time.Second), 0},
		"another machine":                        {cut, 0, 0, 3 * time.Second, startedAgo(100 * time.Hour), 7 * time.Second},
		"another machine, long ago":              {cut, 0, 0, time.Hour, startedAgo(100 * time.Hour), 0},
		"a system without such a clock":          {cut, 0, 0, 3 * time.Second, func(bootClock) bootClock { return bootClock{} }, 7 * time.Second},
		"a start without a name, started again": {cut, 0, time.Hour, 3 * time.Second, func(c bootClock) bootClock {
			return bootClock{boot: c.boot, up: func() time.Duration { return time.Second }}
		}, 10 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, err := OpenStore(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				var forward time.Duration
				clock := testClock(&forward)
				putForward := func(d time.Duration) {
					forward += d
					if d > 0 {
						time.Sleep(d)
					}
				}
				// The pause stands for what a test can not do: to put its own clock, which the
				// process's gate goes by, forward without time passing for that gate.
				s, _ := acquireSent(t, newTestGate(t, GateConfig{Limit: 1, Window: window, Store: store, clock: &clock}))
				putForward(tt.during)
				tt.end(s)
				putForward(tt.between)
				time.Sleep(tt.passes + min(0, tt.between))
				if tt.next != nil {
					clock = tt.next(clock)
				}
				g := newTestGate(t, GateConfig{Limit: 1, Window: window, Store: store, clock: &clock})
				if _, took := acquireSent(t, g); took != tt.want {
					t.Errorf("the first call waited %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// TestStampsOfAnotherClock: what the file holds is never read as more room than there is.
func TestStampsOfAnotherClock(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Second
	stamp := func(sent, done time.Duration) func(time.Time, []byte) []byte {
		return func(now time.Time, head []byte) []byte {
			d := int64(0)
			if done != 0 {
				d = now.Add(done).UnixNano()
			}
			return appendStamp(head, 0, now.Add(sent).UnixNano(), d)
		}
	}
	tests := map[string]struct {
		file func(now time.Time, head []byte) []byte
		want time.Duration
	}{
		"clock set back, completed": {stamp(time.Hour, time.Hour), window},
		"clock set back, cut off":   {stamp(time.Hour, 0), 2 * window},
		"set back in between":       {stamp(-time.Second, time.Hour), 19*time.Second + window},
		"given up":                  {stamp(-5*time.Second, 15*time.Second), 15*time.Second + window},
		"end before beginning":      {stamp(-time.Second, -time.Hour), 0},
		"empty file":                {func(time.Time, []byte) []byte { return nil }, 2 * window},
		"head only":                 {func(_ time.Time, head []byte) []byte { return head }, 2 * window},
		"foreign":                   {func(time.Time, []byte) []byte { return []byte("SQLite format 3\x00 and so on") }, 2 * window},
		"torn record": {func(now time.Time, head []byte) []byte {
			b := stamp(-time.Hour, -time.Hour)(now, head)
			return b[:len(b)-5]
		}, 2 * window},
		"zeros, as after a power cut": {func(_ time.Time, head []byte) []byte {
			return append(head, make([]byte, stampSize)...)
		}, 2 * window},
		"half old, half new": {func(now time.Time, head []byte) []byte {
			b := stamp(-time.Hour, -time.Hour)(now, head)
			binary.LittleEndian.PutUint64(b[len(head):], uint64(now.UnixNano()))
			return b
		}, 2 * window},
		"another slot's record": {func(now time.Time, head []byte) []byte {
			b := stamp(-time.Hour, -time.Hour)(now, head)
			return append(b, b[len(head):]...)
		}, 2 * window},
		"torn head": {func(now time.Time, head []byte) []byte {
			b := stamp(-time.Hour, -time.Hour)(now, head)
			b[len(head)-1]++
			return b
		}, 2 * window},
	}
	heads := map[string]func(now time.Time) []byte{
		"first version":  func(time.Time) []byte { return []byte(stampsHead1) },
		"second version": func(now time.Time) []byte { return appendStampsHead(nil, newStampClock(testClock(nil), now)) },
	}
	for name, tt := range tests {
		for version, head := range heads {
			t.Run(name+", "+version, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					store, err := OpenStore(t.TempDir())
					if err != nil {
						t.Fatal(err)
					}
					now := time.Now()
					if err := os.WriteFile(store.path("stamps"), tt.file(now, head(now)), 0o600); err != nil {
						t.Fatal(err)
					}
					g := newTestGate(t, GateConfig{Limit: 1, Window: window, Store: store})
					if _, took := acquireSent(t, g); took != tt.want {
						t.Errorf("the first call waited %v, want %v", took, tt.want)
					}
				})
			})
		}
	}
}

func TestDailyCountThatCanNotBeRead(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	valid := func(b bucket) []byte {
		text := []byte(dailyHead)
		for i := range dailyBuckets {
			if int64(i) == b.number%dailyBuckets {
				text = appendBucket(text, i, b)
			} else {
				text = appendBucket(text, i, bucket{})
			}
		}
		return text
	}
	tests := map[string]struct {
		text []byte
		want bool // room for a call of three
	}{
		"used up":           {valid(bucket{bucketOf(now), 3}), false},
		"used up before":    {valid(bucket{bucketOf(now) - 144, 3}), false},
		"a day and more":    {valid(bucket{bucketOf(now) - 145, 3}), true},
		"in the future":     {valid(bucket{bucketOf(now) + 1000, 3}), false},
		"torn":              {valid(bucket{bucketOf(now), 3})[:500], true},
		"foreign":           {[]byte("something else"), true},
		"one call is spare": {valid(bucket{bucketOf(now), 2}), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "calls")
			if err := os.WriteFile(path, tt.text, 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := openDaily(path, 3, now, discard)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.allow(now); got != tt.want {
				t.Errorf("got room for a call %v, want %v", got, tt.want)
			}
			if err := d.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// FuzzStamps: no file makes room that is not there, or takes it away for longer
// than a call can last.
func FuzzStamps(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	clock := newStampClock(bootClock{boot: [16]byte{1}, up: func() time.Duration { return time.Hour }}, now)
	unixNano := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixNano()
	}
	valid := appendStampsHead(nil, clock)
	for i, h := range []hold{{}, {sent: now}, {sent: now.Add(-time.Second), done: now}, {sent: now.Add(time.Hour), done: now.Add(2 * time.Hour)}} {
		valid = appendStamp(valid, i, unixNano(h.sent), unixNano(h.done))
	}
	f.Add(valid)
	f.Add(valid[:len(valid)-1])
	f.Add(valid[:stampsHeader+stampSize])
	f.Add(append([]byte(stampsHead1), valid[stampsHeader:]...))
	f.Add([]byte{})
	f.Add([]byte(stampsHead1))
	f.Add(valid[:stampsHeader])
	f.Fuzz(func(t *testing.T, text []byte) {
		held, ok := readStamps(text, now, clock.boot)
		if !ok && held != nil {
			t.Fatal("a file that can not be read has slots")
		}
		if ok && len(text) <= len(stampsHead1) {
			t.Fatal("a file without slots was read")
		}
		for _, h := range held {
			at, known := h.back(5 * time.Second)
			if !known || at.After(now.Add(attemptLimit+10*time.Second)) {
				t.Fatalf("slot %+v comes back at %v, %v", h, at, known)
			}
		}
	})
}
