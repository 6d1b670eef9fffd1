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

// stampsHead opens every stamps file; one record per slot follows.
const stampsHead = "bulkrevoke st 1\n"

// stampSize is the size of a record: sent and done in nanoseconds of Unix time (0:
// not yet), a checksum over both and the slot's index, four zero bytes.
const stampSize = 24

var stampSums = crc32.MakeTable(crc32.Castagnoli)

// stamps is the file in which the slots' moments outlive the process. A stamp is
// one write of one record, never synced: what the kernel has been given survives
// the process, and a machine that lost its power has not called for longer than W.
//
// A nil stamps keeps nothing. The gate's lock guards the rest.
type stamps struct {
	file *os.File
	log  *slog.Logger
	err  error // the first failed write
}

// openStamps reads what the file holds, and opens it anew for at least n slots.
// It returns the slots that have not come back yet, at the places that they have in
// the new file. A file that can not be understood counts as n slots sent now.
func openStamps(path string, n int, window time.Duration, now time.Time, log *slog.Logger) (*stamps, []hold, error) {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var held []hold
	if err == nil {
		var ok bool
		if held, ok = readStamps(old, now); !ok {
			log.Warn("the stamps of earlier calls can not be read: waiting as if all had been sent just now", "slots", n)
			held = slices.Repeat([]hold{{state: holdCut, sent: now}}, n)
		}
	}
	held = slices.DeleteFunc(held, func(h hold) bool {
		at, ok := h.back(window)
		return ok && !now.Before(at)
	})
	text := []byte(stampsHead)
	for i := range max(n, len(held)) {
		var h hold
		if i < len(held) {
			h = held[i]
		}
		text = appendStamp(text, i, unixNano(h.sent), unixNano(h.done))
	}
	if err := replaceFile(path, text); err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	return &stamps{file: file, log: log}, held, nil
}

// readStamps returns the slots that a stamps file knows of, and false if it is torn
// or no stamps file at all.
func readStamps(text []byte, now time.Time) ([]hold, bool) {
	records, ok := bytes.CutPrefix(text, []byte(stampsHead))
	if !ok || len(records)%stampSize != 0 || len(records) == 0 {
		return nil, false
	}
	var held []hold
	for i := range len(records) / stampSize {
		record := records[i*stampSize : (i+1)*stampSize]
		sent := int64(binary.LittleEndian.Uint64(record))
		done := int64(binary.LittleEndian.Uint64(record[8:]))
		if !bytes.Equal(record, appendStamp(nil, i, sent, done)) || sent < 0 || done < 0 {
			return nil, false
		}
		if sent != 0 {
			held = append(held, restored(sent, done, now))
		}
	}
	return held, true
}

// restored returns the slot behind a stamp. A stamp in the future is the work of a
// clock that was set back, and becomes now; only a call that was given up may be
// completed later than now, by what is left of its time limit.
func restored(sent, done int64, now time.Time) hold {
	wall := now.UnixNano()
	at := func(stamp int64) time.Time { return now.Add(time.Duration(stamp - wall)) }
	if sent > wall {
		sent, done = wall, min(done, wall)
	}
	if done == 0 {
		return hold{state: holdCut, sent: at(sent)}
	}
	return hold{state: holdDone, sent: at(sent), done: at(min(done, max(wall, sent+int64(attemptLimit))))}
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

// unixNano returns 0 for the zero time.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// write stamps a slot. A failure is logged once and kept for close: the bound holds
// without stamps while the process lives.
func (s *stamps) write(index int, sent, done time.Time) {
	if s == nil || s.file == nil {
		return
	}
	record := appendStamp(nil, index, unixNano(sent), unixNano(done))
	_, err := s.file.WriteAt(record, int64(len(stampsHead)+index*stampSize))
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("stamp a call: %w", err)
		s.log.Warn("calls can not be stamped: a restart may go over the rate limit", "error", err)
	}
}

// close syncs and closes the file. Later writes do nothing.
func (s *stamps) close() error {
	if s == nil || s.file == nil {
		return nil
	}
	err := errors.Join(s.err, s.file.Sync(), s.file.Close())
	s.file = nil
	return err
}
