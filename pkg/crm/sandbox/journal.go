package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
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

// zohoEvent is something that changed the Zoho world.
type zohoEvent struct {
	User  *ZohoUser  `json:"user,omitempty"`
	Token *zohoToken `json:"token,omitempty"`
	Grant *zohoGrant `json:"grant,omitempty"`
	List  *zohoList  `json:"list,omitempty"`
	Job   *zohoJob   `json:"job,omitempty"`

	Module *ZohoModule `json:"module,omitempty"`
	Group  *ZohoGroup  `json:"group,omitempty"`
	Run    *zohoRun    `json:"run,omitempty"`
	Owner  *zohoOwner  `json:"owner,omitempty"`
	Gone   *zohoGone   `json:"gone,omitempty"`
}

// readJournal does again what was written so far. A file that does not exist is an
// empty one. A last line that a kill cut off is taken off the file; its request was
// never answered. Nobody else knows the server yet.
func (s *Server) readJournal() error {
	data, err := os.ReadFile(s.cfg.Journal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole < len(data) {
		if err := os.Truncate(s.cfg.Journal, int64(whole)); err != nil {
			return err
		}
	}
	for n, line := range bytes.Split(data[:whole], []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		s.replay(rec)
	}
	return nil
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
	case rec.Zoho == nil:
	case rec.Zoho.User != nil:
		s.zoho.people.put(rec.Zoho.User.person())
	case rec.Zoho.Token != nil:
		s.zoho.grantee(rec.Zoho.Token.Refresh).window.admit(rec.Zoho.Token.At)
		s.zoho.issue(rec.Zoho.Token)
	case rec.Zoho.Grant != nil:
		s.zoho.client.admit(rec.Zoho.Grant.At)
		s.zoho.grant(rec.Zoho.Grant)
	case rec.Zoho.List != nil:
		s.zoho.enlist(rec.Zoho.List)
	case rec.Zoho.Job != nil:
		s.zoho.take(rec.Zoho.Job)
	default:
		s.zoho.change(rec.Zoho)
	}
}

// change makes one of the changes of the world that somebody has made by hand.
func (z *zoho) change(e *zohoEvent) {
	switch {
	case e.Module != nil:
		z.modules[e.Module.Name] = true
		z.settings[e.Module.Name] = *e.Module
	case e.Group != nil:
		z.putGroup(e.Group)
	case e.Run != nil:
		z.run(e.Run)
	case e.Owner != nil:
		z.own(e.Owner)
	case e.Gone != nil:
		z.vanish(e.Gone)
	}
}

// write adds a record to the journal. Its error means that what the record tells of
// may not happen.
func (s *Server) write(rec record) error {
	if s.broken != nil || s.journal == nil {
		return s.broken
	}
	line, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = s.journal.Write(append(line, '\n'))
	return err
}

// keep writes a record of what happens in any case. A journal that takes no more shows
// at the next change, which is refused.
func (s *Server) keep(rec record) { s.broken = s.write(rec) }

// notWritten is the reply to a change that the journal did not take.
func notWritten(err error) *reply {
	return textReply(http.StatusInternalServerError, "sandbox: write journal: "+err.Error())
}
