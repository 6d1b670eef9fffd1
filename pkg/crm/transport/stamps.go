package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"
)

// A stamps file begins with a line of this text. Then comes which clock its records
// are on: the start of the machine that it counts from, what to add to the time since
// that start, a checksum over both and the line, four zero bytes. One record for each
// slot follows. Files of the first version are on the wall clock and do not say so.
const (
	stampsHead   = "bulkrevoke st 2\n"
	stampsHead1  = "bulkrevoke st 1\n"
	stampsHeader = len(stampsHead) + 32
)

// stampSize is the size of a record: sent and done in nanoseconds on the file's clock
// (0: not yet), a checksum over both and the slot's index, four zero bytes.
const stampSize = 24

// mostStamps is more than a stamps file can have, even where earlier calls hold as many
// slots again.
const mostStamps = int64(stampsHeader) + 4*mostSlots*stampSize

var stampSums = crc32.MakeTable(crc32.Castagnoli)

// stamps is the file in which the slots' moments outlive the process. A stamp is
// one write of one record, not synced: what the kernel has been given survives
// the process, and a machine that lost its power has not called for longer than W, unless
// that is a long one: then the file is synced when it is closed.
//
// A nil stamps keeps nothing. The gate's lock guards the rest.
type stamps struct {
	file  *os.File
	clock stampClock
	sync  bool // when it is closed
	log   *slog.Logger
	err   error // the first failed write
}

// longWindow is how long a window is at least through which a machine may be started anew.
const longWindow = 10 * time.Second

// stampClock is what the records of a file are measured by: a machine's boot clock,
// and that plus offset is Unix time as it was when the file was opened. Setting the wall
// clock does not move it. Without a boot clock it is the wall clock.
type stampClock struct {
	boot   bootClock
	offset int64 // nanoseconds
}

// newStampClock returns the clock for a file that is opened now.
func newStampClock(boot bootClock, now time.Time) stampClock {
	up, ok := boot.now()
	if !ok {
		return stampClock{}
	}
	return stampClock{boot: boot, offset: now.UnixNano() - int64(up)}
}

// now returns the reading that belongs to the moment now.
func (c stampClock) now(now time.Time) int64 {
	if up, ok := c.boot.now(); ok {
		return int64(up) + c.offset
	}
	return now.UnixNano()
}

// of returns the reading that belongs to a moment near now; 0 for the zero time.
func (c stampClock) of(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	now := time.Now()
	return c.now(now) + int64(t.Sub(now))
}

// openStamps reads what the file holds, and opens it anew for at least n slots.
// It returns the slots that have not come back yet, at the places that they have in
// the new file. A file that can not be understood counts as n slots sent now.
func openStamps(path string, n int, window time.Duration, now time.Time, boot bootClock, log *slog.Logger) (*stamps, []hold, error) {
	old, err := readRegular(path, mostStamps)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var held []hold
	if err == nil {
		var ok bool
		if held, ok = readStamps(old, now, boot); !ok {
			log.Warn("the stamps of earlier calls can not be read: waiting as if all had been sent just now", "slots", n)
			held = slices.Repeat([]hold{{state: holdCut, sent: now}}, n)
		}
	}
	held = slices.DeleteFunc(held, func(h hold) bool {
		at, ok := h.back(window)
		return ok && !now.Before(at)
	})
	clock := newStampClock(boot, now)
	text := appendStampsHead(nil, clock)
	for i := range max(n, len(held)) {
		var h hold
		if i < len(held) {
			h = held[i]
		}
		text = appendStamp(text, i, clock.of(h.sent), clock.of(h.done))
	}
	if err := replaceFile(path, text, window >= longWindow); err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	return &stamps{file: file, clock: clock, sync: window >= longWindow, log: log}, held, nil
}

// readStamps returns the slots that a stamps file knows of, and false if it is torn
// or no stamps file at all.
//
// How old a stamp is, is said by the clock that it was written by, if that still runs,
// and by the wall clock; the younger age counts. Each of them can be wrong in the way
// that makes a stamp look old: the wall clock if it was put forward in between. Where
// the machine has been started since, or it was another one, the wall clock is all
// there is; but nothing that this machine sent is younger than its start.
func readStamps(text []byte, now time.Time, boot bootClock) ([]hold, bool) {
	records, v1 := bytes.CutPrefix(text, []byte(stampsHead1))
	var clock stampClock
	if !v1 {
		if len(text) < stampsHeader {
			return nil, false
		}
		copy(clock.boot.boot[:], text[len(stampsHead):])
		clock.offset = int64(binary.LittleEndian.Uint64(text[len(stampsHead)+16:]))
		if !bytes.Equal(text[:stampsHeader], appendStampsHead(nil, clock)) {
			return nil, false
		}
		records = text[stampsHeader:]
	}
	if len(records)%stampSize != 0 || len(records) == 0 {
		return nil, false
	}
	read := now.UnixNano() // the reading that ages are counted to
	oldest := int64(0)     // what is older counts as of then
	up, known := boot.now()
	switch {
	case known && clock.boot.boot == boot.boot:
		read = min(read, int64(up)+clock.offset)
	case known:
		oldest = max(0, read-int64(up))
	}
	var held []hold
	for i := range len(records) / stampSize {
		record := records[i*stampSize : (i+1)*stampSize]
		sent := int64(binary.LittleEndian.Uint64(record))
		done := int64(binary.LittleEndian.Uint64(record[8:]))
		if !bytes.Equal(record, appendStamp(nil, i, sent, done)) || sent < 0 || done < 0 {
			return nil, false
		}
		if sent == 0 {
			continue
		}
		if sent = max(sent, oldest); done != 0 {
			done = max(done, oldest)
		}
		held = append(held, restored(sent, done, read, now))
	}
	return held, true
}

// restored returns the slot behind a stamp, read being the reading of now. A stamp in
// the future is the work of a clock that was set back, and becomes now; only a call that
// was given up may be completed later than now, by what is left of its time limit.
func restored(sent, done, read int64, now time.Time) hold {
	at := func(stamp int64) time.Time { return now.Add(time.Duration(stamp - read)) }
	if sent > read {
		sent, done = read, min(done, read)
	}
	if done == 0 {
		return hold{state: holdCut, sent: at(sent)}
	}
	return hold{state: holdDone, sent: at(sent), done: at(min(done, max(read, sent+int64(attemptLimit))))}
}

// appendStampsHead appends what a file begins with.
func appendStampsHead(b []byte, clock stampClock) []byte {
	start := len(b)
	b = append(append(b, stampsHead...), clock.boot.boot[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(clock.offset))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], stampSums))
	return append(b, 0, 0, 0, 0)
}

// appendStamp appends a slot's record.
func appendStamp(b []byte, index int, sent, done int64) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(sent))
	b = binary.LittleEndian.AppendUint64(b, uint64(done))
	sum := crc32.Update(crc32.Checksum(b[start:], stampSums), stampSums, binary.LittleEndian.AppendUint32(nil, uint32(index)))
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(b, 0, 0, 0, 0)
}

// write stamps a slot. A failure is logged once and kept for close: the bound holds
// without stamps while the process lives.
func (s *stamps) write(index int, sent, done time.Time) {
	if s == nil || s.file == nil {
		return
	}
	record := appendStamp(nil, index, s.clock.of(sent), s.clock.of(done))
	_, err := s.file.WriteAt(record, int64(stampsHeader+index*stampSize))
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("stamp a call: %w", err)
		s.log.Warn("calls can not be stamped: a restart may go over the rate limit", "error", err)
	}
}

// close closes the file. Later writes do nothing.
func (s *stamps) close() error {
	if s == nil || s.file == nil {
		return nil
	}
	err := s.err
	if s.sync {
		err = errors.Join(err, s.file.Sync())
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}
