package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// record is a line of the journal: one thing that changed the world.
type record struct {
	User    *person    `json:"user,omitempty"`
	Seed    *seed      `json:"seed,omitempty"`
	Request *request   `json:"request,omitempty"`
	Zoho    *zohoEvent `json:"zoho,omitempty"`
}

// seed is an operation whose world was made at a time.
type seed struct {
	At time.Time     `json:"at"`
	Op crm.Operation `json:"op"`
}

// journal is an open journal file; nil is a server without one.
type journal struct {
	file *os.File
}

// readJournal reads what was written so far. A file that does not exist is an
// empty one. A last line that a kill cut off is taken off the file; its request
// was never answered.
func readJournal(name string) ([]record, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole < len(data) {
		if err := os.Truncate(name, int64(whole)); err != nil {
			return nil, err
		}
	}
	var records []record
	for n, line := range bytes.Split(data[:whole], []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		records = append(records, rec)
	}
	return records, nil
}

func openJournal(name string) (*journal, error) {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file: file}, nil
}

func (j *journal) close() error {
	if j == nil || j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

func (j *journal) append(rec record) error {
	if j == nil {
		return nil
	}
	if j.file == nil {
		return fs.ErrClosed
	}
	line, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	return err
}

// keep writes a record of the test's own doing. A journal that takes no more shows
// at the next change, which is refused.
func (s *Server) keep(rec record) {
	if err := s.journal.append(rec); err != nil && s.journalErr == nil {
		s.journalErr = err
	}
}

// accept writes a request before it is answered.
func (s *Server) accept(req *request) error {
	if s.journalErr != nil {
		return s.journalErr
	}
	return s.journal.append(record{Request: req})
}

// replay does again what a record says was done.
func (s *Server) replay(rec record) {
	switch {
	case rec.User != nil:
		s.lsq.people.put(*rec.User)
	case rec.Seed != nil:
		s.seed(*rec.Seed)
	case rec.Request != nil:
		s.lsq.add(rec.Request)
		s.open.resume(rec.Request)
	case rec.Zoho != nil:
		s.zoho.replay(rec.Zoho)
	}
}
