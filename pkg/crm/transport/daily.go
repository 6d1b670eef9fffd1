package transport

import (
	"cmp"
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

const (
	// bucketLength is the grain of the day's count; a bucket counts until the last of
	// its calls is 24 hours old. 145 of them cover every 24 hours.
	bucketLength = 10 * time.Minute
	dailyBuckets = 145

	dailyHead = "bulkrevoke dc 1\n"
	// dailySize is the size of a record: bucket number, calls, a checksum over both,
	// four zero bytes.
	dailySize = 24
)

// daily counts calls over rolling 24 hours, in a ring of buckets that outlives the
// process. A nil daily counts nothing. The gate's lock guards it.
type daily struct {
	most    int
	buckets [dailyBuckets]bucket
	file    *os.File // nil: in memory only
	log     *slog.Logger
	err     error // the first failed write
}

// bucket holds the calls of ten minutes; number is Unix time in such units.
type bucket struct{ number, calls int64 }

// openDaily reads the count at path and opens it for writing; an empty path keeps
// it in memory. A count that can not be read starts from nothing: it guards a bound
// of the operator's own, and a day's standstill would be the greater harm.
func openDaily(path string, most int, now time.Time, log *slog.Logger) (*daily, error) {
	d := &daily{most: most, log: log}
	if path == "" {
		return d, nil
	}
	text, err := readRegular(path, 2*int64(len(dailyHead)+dailyBuckets*dailySize))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && !d.read(text, bucketOf(now)) {
		log.Warn("the count of the day's calls can not be read and starts anew")
		d.buckets = [dailyBuckets]bucket{}
	}
	text = []byte(dailyHead)
	for i, b := range d.buckets {
		text = appendBucket(text, i, b)
	}
	if err := replaceFile(path, text, true); err != nil {
		return nil, err
	}
	if d.file, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
		return nil, err
	}
	return d, nil
}

func bucketOf(t time.Time) int64 { return t.Unix() / int64(bucketLength/time.Second) }

// read takes the buckets from a file. Those of the future, which a clock that was
// set back leaves, count as of now.
func (d *daily) read(text []byte, now int64) bool {
	if len(text) != len(dailyHead)+dailyBuckets*dailySize || string(text[:len(dailyHead)]) != dailyHead {
		return false
	}
	for i := range dailyBuckets {
		record := text[len(dailyHead)+i*dailySize:][:dailySize]
		b := bucket{
			number: int64(binary.LittleEndian.Uint64(record)),
			calls:  int64(binary.LittleEndian.Uint64(record[8:])),
		}
		if string(record) != string(appendBucket(nil, i, b)) || b.calls < 0 || b.number < 0 {
			return false
		}
		d.add(min(b.number, now), b.calls)
	}
	return true
}

// add counts calls in a bucket, which takes the place of the one a day older.
func (d *daily) add(number, calls int64) {
	b := &d.buckets[number%dailyBuckets]
	switch {
	case b.number == number:
		b.calls += calls
	case b.number < number:
		*b = bucket{number, calls}
	}
}

// merge counts the calls of another count too.
func (d *daily) merge(other *daily) {
	for _, b := range other.buckets {
		if b.calls > 0 {
			d.add(b.number, b.calls)
			d.write(b.number)
		}
	}
}

// allow says whether one more call may be sent.
func (d *daily) allow(now time.Time) bool {
	var sum int64
	oldest := bucketOf(now) - dailyBuckets + 1
	for _, b := range d.buckets {
		if b.number >= oldest {
			sum += b.calls
		}
	}
	return sum < int64(d.most)
}

// until returns when the next call may be sent: when enough of the earlier ones are 24 hours old.
func (d *daily) until(now time.Time) time.Time {
	counted := slices.SortedFunc(slices.Values(d.buckets[:]), func(a, b bucket) int { return cmp.Compare(b.number, a.number) })
	var sum int64
	for _, b := range counted {
		if sum += b.calls; sum >= int64(d.most) {
			return time.Unix((b.number+dailyBuckets)*int64(bucketLength/time.Second), 0)
		}
	}
	return now
}

// take counts a call and returns its bucket.
func (d *daily) take(now time.Time) int64 {
	number := bucketOf(now)
	d.add(number, 1)
	return number
}

// giveBack uncounts a call that was not sent.
func (d *daily) giveBack(number int64) {
	if b := &d.buckets[number%dailyBuckets]; b.number == number && b.calls > 0 {
		b.calls--
	}
}

// write brings a bucket to the file.
func (d *daily) write(number int64) {
	if d.file == nil {
		return
	}
	i := int(number % dailyBuckets)
	_, err := d.file.WriteAt(appendBucket(nil, i, d.buckets[i]), int64(len(dailyHead)+i*dailySize))
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("count a call: %w", err)
		d.log.Warn("calls can not be counted: another run may go over daily_calls", "error", err)
	}
}

// close syncs and closes the file. Later writes do nothing.
func (d *daily) close() error {
	if d == nil || d.file == nil {
		return nil
	}
	err := errors.Join(d.err, d.file.Sync(), d.file.Close())
	d.file = nil
	return err
}

// appendBucket appends a bucket's record.
func appendBucket(text []byte, index int, b bucket) []byte {
	start := len(text)
	text = binary.LittleEndian.AppendUint64(text, uint64(b.number))
	text = binary.LittleEndian.AppendUint64(text, uint64(b.calls))
	sum := crc32.Update(crc32.Checksum(text[start:], stampSums), stampSums, binary.LittleEndian.AppendUint32(nil, uint32(index)))
	text = binary.LittleEndian.AppendUint32(text, sum)
	return append(text, 0, 0, 0, 0)
}
