package find

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Work is the file that a find keeps what it has seen in: a JSON object a line, each added
// and synced before anything depends on it. A line that a kill has torn is cut off when the
// file is opened again; so what counts is always a beginning of what was seen.
//
// Of what it holds, only what is counted is kept in memory, and where the lines stand that
// saw something.
type Work struct {
	mu     sync.Mutex // guards what follows while accounts add to it side by side
	file   *os.File
	path   string
	size   int64
	resume bool
	wrote  []string // hashes of the sheets that were written, the last one last
	parts  map[string]*progress
	// changed is called after each line, for tests.
	changed func()
}

// workVersion is the format of work files.
const workVersion = 1

// workLine is a line. Each of them has some of the fields.
type workLine struct {
	Find    int    `json:"find,omitempty"` // workVersion, in the first line
	Digest  string `json:"digest,omitempty"`
	Started int64  `json:"started,omitempty"`

	Wrote string `json:"wrote,omitempty"` // the hash of a sheet that is about to be put in place

	Part string `json:"part,omitempty"`
	// Of a part: how many records it has, and how many each user owns.
	Count *int64           `json:"count,omitempty"`
	Owned map[string]int64 `json:"owned,omitempty"`
	// Of a chunk of its records, or people.
	N       int64            `json:"n,omitempty"`
	Looked  int64            `json:"looked,omitempty"`
	Gone    int64            `json:"gone,omitempty"`
	Refused int64            `json:"refused,omitempty"`
	Why     map[string]int64 `json:"why,omitempty"` // refusals, by what was said
	Last    string           `json:"last,omitempty"`
	Seen    []sighting       `json:"seen,omitempty"`
	Checked []crm.RecordID   `json:"checked,omitempty"` // of what ledgers gave, what was looked at
	Members []memberLine     `json:"members,omitempty"`
	// End says that the part has come to its end.
	End  bool   `json:"end,omitempty"`
	Note string `json:"note,omitempty"`
	// Short is how many records the CRM counts that it did not list.
	Short int64 `json:"short,omitempty"`
	At    int64 `json:"at,omitempty"`
}

// memberLine is the groups of one person.
type memberLine struct {
	User    string           `json:"user"`
	Groups  []crm.Membership `json:"groups,omitempty"`
	Refused string           `json:"refused,omitempty"`
}

// memberships are the groups of one person, as they were seen.
type memberships struct {
	groups  []crm.Membership
	refused string // why they were not seen
	at      time.Time
}

// progress is how far a part has come.
type progress struct {
	count                    int64 // records that the CRM counts; -1 while nobody asked
	owned                    map[string]int64
	n, looked, gone, refused int64
	short                    int64
	why                      map[string]int64
	last                     string
	ended                    bool
	note                     string
	seen                     []int64 // where the lines begin that saw something
	members                  map[string]memberships
	checked                  []crm.RecordID
	first, latest            time.Time
}

// errForeign says that the file in the work file's place is none.
var errForeign = errors.New("is no work file of find")

// OpenWork opens the work file at path, or makes it. A file of another question begins
// anew, and so does one that cannot be gone on with for another reason; anew says so. The
// caller keeps others away from it.
func OpenWork(path, digest string, now time.Time) (w *Work, anew bool, err error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, false, &Error{Reason: path + " is no regular file", Hint: "Move it away: find keeps there what it has seen."}
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, false, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	w = &Work{file: file, path: path}
	same, err := w.load(digest)
	switch {
	case errors.Is(err, errForeign):
		err = &Error{Reason: path + " " + errForeign.Error(), Hint: "Move it away: find keeps there what it has seen."}
	case err == nil && !same:
		anew = w.size > 0
		wrote := w.wrote
		w.size, w.parts, w.resume = 0, make(map[string]*progress), false
		if err = file.Truncate(0); err == nil {
			err = w.add(workLine{Find: workVersion, Digest: digest, Started: now.UnixMilli()})
		}
		// What was written for the other question may still stand there.
		if err == nil && len(wrote) > 0 {
			err = w.add(workLine{Wrote: wrote[len(wrote)-1]})
		}
		if err == nil {
			err = syncFolder(path)
		}
	case err == nil:
		w.resume = true
		err = file.Truncate(w.size) // a torn line
	}
	if err != nil {
		return nil, false, errors.Join(err, file.Close())
	}
	return w, anew, nil
}

// syncFolder makes a new file's name durable.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil // a folder that is only written to
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// longestLine bounds what is read of a line. A chunk has some hundred records at most.
const longestLine = 256 << 20

// load reads the file. same says that it is of this question.
func (w *Work) load(digest string) (same bool, err error) {
	w.parts = make(map[string]*progress)
	r := bufio.NewReaderSize(w.file, 1<<16)
	for first := true; ; first = false {
		text, err := readLine(r)
		if err == io.EOF {
			if first && len(text) > 0 && !bytes.HasPrefix([]byte(`{"find":`), text[:min(len(text), 8)]) {
				return false, errForeign
			}
			return same, nil // what has no end is torn
		}
		if err != nil {
			return false, err
		}
		var line workLine
		if json.Unmarshal(text, &line) != nil {
			if first {
				return false, errForeign
			}
			return same, nil // nothing behind it counts
		}
		if first {
			if line.Find == 0 {
				return false, errForeign
			}
			same = line.Find == workVersion && line.Digest == digest
		}
		w.take(&line, w.size)
		w.size += int64(len(text))
	}
}

// readLine reads a line with its end. Without one, it is io.EOF.
func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > longestLine {
			return line, errForeign
		}
	}
}

// take keeps in memory what is to be known of a line, which begins at an offset.
func (w *Work) take(line *workLine, at int64) {
	if line.Wrote != "" {
		w.wrote = append(w.wrote, line.Wrote)
	}
	if line.Part == "" {
		return
	}
	p := w.part(line.Part)
	if line.Count != nil {
		p.count = *line.Count
	}
	if line.Owned != nil {
		p.owned = line.Owned
	}
	p.n, p.looked, p.gone, p.refused = p.n+line.N, p.looked+line.Looked, p.gone+line.Gone, p.refused+line.Refused
	for why, n := range line.Why {
		p.complain(why, n)
	}
	if line.Last != "" {
		p.last = line.Last
	}
	if len(line.Seen) > 0 {
		p.seen = append(p.seen, at)
	}
	p.checked = append(p.checked, line.Checked...)
	moment := time.UnixMilli(line.At).UTC()
	for _, m := range line.Members {
		p.members[foldID(m.User)] = memberships{m.Groups, m.Refused, moment}
	}
	if line.At > 0 {
		if p.first.IsZero() {
			p.first = moment
		}
		p.latest = moment
	}
	p.ended = p.ended || line.End
	p.short += line.Short
	p.note = crm.Join(p.note, line.Note)
}

// mostReasons is how many different refusals of a part are told apart.
const mostReasons = 20

// otherReasons stands for those beyond.
const otherReasons = "others"

func (p *progress) complain(why string, n int64) {
	if p.why == nil {
		p.why = make(map[string]int64)
	}
	if _, known := p.why[why]; !known && len(p.why) >= mostReasons {
		why = otherReasons
	}
	p.why[why] += n
}

// at returns how far a part has come. Only whoever works at the part may look into it.
func (w *Work) at(name string) *progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.part(name)
}

// part is at where the lock is held.
func (w *Work) part(name string) *progress {
	p := w.parts[name]
	if p == nil {
		p = &progress{count: -1, members: make(map[string]memberships)}
		w.parts[name] = p
	}
	return p
}

// Goes reports whether the file held something of this question when it was opened.
func (w *Work) Goes() bool { return w.resume }

// Writing notes the hash of a sheet that is about to be put in its place.
func (w *Work) Writing(hash string) error { return w.add(workLine{Wrote: hash}) }

// NoWork is a work file that keeps nothing: of a find that only says what it would do.
func NoWork() *Work { return &Work{parts: make(map[string]*progress)} }

// add adds a line, and returns when it is durable.
func (w *Work) add(line workLine) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		w.take(&line, 0)
		return nil
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if _, err := w.file.WriteAt(text, w.size); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	w.take(&line, w.size)
	w.size += int64(len(text))
	if w.changed != nil {
		w.changed()
	}
	return nil
}

// sightings streams what a part has seen, in its order.
func (w *Work) sightings(p *progress, yield func(*sighting) bool) error {
	for _, at := range p.seen {
		text, err := readLine(bufio.NewReader(io.NewSectionReader(w.file, at, w.size-at)))
		if err != nil {
			return fmt.Errorf("read %s: %w", w.path, err)
		}
		var line workLine
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("read %s: a line at %d is damaged", w.path, at)
		}
		for i := range line.Seen {
			if !yield(&line.Seen[i]) {
				return nil
			}
		}
	}
	return nil
}

// Close closes the file. With remove it has served its purpose, and goes.
func (w *Work) Close(remove bool) error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	if remove {
		err = errors.Join(err, os.Remove(w.path))
	}
	return err
}

// Written returns the hashes of the sheets that were written from the work file at path,
// whatever question it is of. Without such a file there are none.
func Written(path string) []string {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close() // it is only read
	w := &Work{file: file}
	if _, err := w.load(""); err != nil {
		return nil
	}
	return w.wrote
}
