package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// asleep takes nothing until it is woken, then everything.
type asleep struct {
	awake chan struct{}
	bytes.Buffer
}

func (a *asleep) Write(p []byte) (int, error) {
	<-a.awake
	return a.Buffer.Write(p)
}

// broken fails each write.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestDetachedNeitherFailsNorWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sleeper := &asleep{awake: make(chan struct{})}
		for name, d := range map[string]*Detached{"a reader that sleeps": NewDetached(sleeper), "a reader that is gone": NewDetached(broken{})} {
			begun := time.Now()
			for range 30_000 {
				if n, err := d.Write([]byte(strings.Repeat("x", 99) + "\n")); n != 100 || err != nil {
					t.Fatalf("%s: Write returned %d, %v", name, n, err)
				}
			}
			if took := time.Since(begun); took > 0 {
				t.Errorf("%s: writing waited for %v", name, took)
			}
			d.Flush()
			if took := time.Since(begun); took > flushTime {
				t.Errorf("%s: the end waited for %v", name, took)
			}
		}
		close(sleeper.awake)
	})
}

// What was dropped is counted, and told in the form of the screen.
func TestDetachedTellsWhatItDropped(t *testing.T) {
	t.Parallel()
	for _, machine := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sleeper := &asleep{awake: make(chan struct{})}
			d := NewDetached(sleeper)
			s := NewScreen(d)
			d.Missed = s.Missed
			if machine {
				s.UseJSON()
			}
			_, _ = d.Write([]byte("{}\n"))
			synctest.Wait() // the first write hangs
			_, _ = d.Write([]byte(strings.Repeat("{}\n", mostKept/3)))
			_, _ = d.Write([]byte("{}\n{}\n"))
			_, _ = d.Write([]byte("{}\n"))
			close(sleeper.awake)
			d.Flush()
			got := sleeper.String()
			last := got[strings.LastIndexByte(strings.TrimSpace(got), '\n')+1:]
			if !machine && last != "3 lines have not been shown here: nobody read them in time\n" {
				t.Errorf("the last line is %q", last)
			}
			var told struct {
				Level, Msg string
				Lines      int
			}
			if machine && (json.Unmarshal([]byte(last), &told) != nil || told.Lines != 3 || told.Msg != "lines dropped") {
				t.Errorf("the last line is %q", last)
			}
		})
	}
}
