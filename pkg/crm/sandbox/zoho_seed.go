package sandbox

import (
	"fmt"
	"strconv"
)

// happen makes a change of the Zoho world and writes it down.
func (s *Server) happen(e *zohoEvent) {
	s.keep(record{Zoho: e})
	s.zoho.change(e)
}

// SeedZohoRecords makes n records of a module exist that nobody shares, with ids that
// follow one another from first on. Owners, by id or address, take turns in owning them;
// without any it is who authorised the client. They cost little: millions are no matter.
// What SeedZoho gives to one of them is added to it. An id that is none panics.
func (s *Server) SeedZohoRecords(module, first string, n int, owners ...string) {
	run, err := newRun(module, first, n, owners)
	if err != nil {
		panic("sandbox: " + err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happen(&zohoEvent{Run: run})
}

// newRun checks what is said of many records.
func newRun(module, first string, n int, owners []string) (*zohoRun, error) {
	from, err := strconv.ParseUint(first, 10, 64)
	switch {
	case !zohoModule.MatchString(module):
		return nil, fmt.Errorf("%q is no module", module)
	case err != nil || from == 0 || first[0] == '0':
		return nil, fmt.Errorf("%q is no id to begin with", first)
	case n < 1 || n > 100_000_000 || from+uint64(n) < from:
		return nil, fmt.Errorf("%d records", n)
	}
	return &zohoRun{Module: module, First: from, Count: n, Owners: append([]string(nil), owners...)}, nil
}

// OwnZoho makes somebody, by id or address, the owner of a record, which exists from then on.
func (s *Server) OwnZoho(module, record, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happen(&zohoEvent{Owner: &zohoOwner{module, record, owner}})
}

// VanishZoho takes records out of the world: queries do not list them any more, and whoever
// asks for one hears that there is none.
func (s *Server) VanishZoho(module string, records ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happen(&zohoEvent{Gone: &zohoGone{module, records}})
}

// SetZohoModule makes a module known, or changes what is special about it.
func (s *Server) SetZohoModule(m ZohoModule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happen(&zohoEvent{Module: &m})
}

// AddZohoGroup makes a group known, or changes the one with the same id. Its users become
// known too.
func (s *Server) AddZohoGroup(g ZohoGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happen(&zohoEvent{Group: &g})
}

// ZohoCredits returns how many credits were used in the last 24 hours, where Config.Zoho
// has a limit of them.
func (s *Server) ZohoCredits() int { return locked(s, func() int { return len(s.zoho.credits.calls) }) }
