package sandbox

import (
	"cmp"
	"errors"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// seed makes the world of an operation, with the vendor that has its object, and
// says whether that changed anything. The server's mutex is held.
func (s *Server) seed(sd seed) bool {
	switch sd.Op.Object {
	case crm.Lead, crm.Opportunity, crm.SalesGroup:
		return s.lsq.seed(sd)
	}
	return s.zoho.seed(sd)
}

// AddZohoUser makes a user known to Zoho, or changes the one with the same id.
func (s *Server) AddZohoUser(u ZohoUser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.zoho.people.put(u) {
		s.keep(record{Zoho: &zohoEvent{User: &u}})
	}
}

// SeedZoho makes grants the list of a record, at once and by somebody else's hand,
// and makes the module, the record and the users known. A grant's Kind is "user"
// if it is empty, and its Access at least read; one with Through is inherited. It
// counts as a change of the list that no client knows of.
func (s *Server) SeedZoho(module, record string, grants ...crm.Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zoho.meddle(module, record, grants)
}

// Grants returns a record's list as it is in force now, in the order in which it
// came about.
func (s *Server) Grants(module, record string) []crm.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, ok := s.zoho.records[module+"/"+record]
	if !ok {
		return nil
	}
	rec.settle(s.cfg.Now())
	return rec.grants()
}

// Records returns the list of every record of Zoho that was seeded or written, by
// "Module/id".
func (s *Server) Records() map[string][]crm.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]crm.Grant{}
	for key, rec := range s.zoho.records {
		rec.settle(s.cfg.Now())
		if rec.known {
			all[key] = rec.grants()
		}
	}
	return all
}

// Mails returns how many mails Zoho has sent because of writes. It stays 0 for a
// client that declines them all.
func (s *Server) Mails() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zoho.mails
}

// TokenRequests returns how many requests came to Zoho's token endpoint.
func (s *Server) TokenRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zoho.tokenRequests
}

// WritesWithoutLook returns how many writes of a Zoho record came although its
// list had not been read since the attempt to write it before, or ever. An attempt
// counts whatever became of it, refusals included. It stays 0 for a good client.
func (s *Server) WritesWithoutLook() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zoho.blind
}

// StaleWrites returns how many writes of a Zoho record came after its list had
// changed since it was read last: by somebody else, or by a write of its own that was
// still in processing. Nothing in the API lets a client prevent this; the fewer, the
// closer it writes upon its looks.
func (s *Server) StaleWrites() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zoho.stale
}

// ZohoState is the part of the reply of GET /_sandbox/state that is about Zoho.
type ZohoState struct {
	Records           map[string][]crm.Grant `json:"records"` // by "Module/id"
	Mails             int                    `json:"mails"`
	TokenRequests     int                    `json:"token_requests"`
	WritesWithoutLook int                    `json:"writes_without_look"`
	StaleWrites       int                    `json:"stale_writes"`
}

func (s *Server) zohoState() ZohoState {
	return ZohoState{
		Records: s.Records(), Mails: s.Mails(), TokenRequests: s.TokenRequests(),
		WritesWithoutLook: s.WritesWithoutLook(), StaleWrites: s.StaleWrites(),
	}
}

// controlledRecord is a record's list as POST /_sandbox/records takes it.
type controlledRecord struct {
	Module string           `json:"module"`
	Record string           `json:"record_id"`
	Grants []controlledPart `json:"grants"`
}

// controlledPart is a grant with its level in words.
type controlledPart struct {
	Kind    string `json:"kind"`
	ID      string `json:"id"`
	Access  string `json:"access"`
	Related bool   `json:"related"`
	Through string `json:"through"`
}

func (s *Server) controlRecord(c controlledRecord) (func(), error) {
	if !zohoModule.MatchString(c.Module) || !zohoID.MatchString(c.Record) {
		return nil, errors.New("a record needs a module and an id")
	}
	var grants []crm.Grant
	for _, part := range c.Grants {
		access, ok := crm.ParseAccess(part.Access)
		if !ok {
			return nil, errors.New("unknown access " + part.Access)
		}
		kind := cmp.Or(part.Kind, crm.KindUser)
		if _, ok := zohoLimits[kind]; !ok && kind != crm.KindPublic {
			return nil, errors.New("unknown kind " + part.Kind)
		}
		if kind != crm.KindPublic && !zohoID.MatchString(part.ID) {
			return nil, errors.New("a grant needs an id of digits")
		}
		grants = append(grants, crm.Grant{Kind: kind, ID: part.ID, Access: access, Related: part.Related, Through: part.Through})
	}
	return func() { s.SeedZoho(c.Module, c.Record, grants...) }, nil
}
