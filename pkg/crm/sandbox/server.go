package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// maxBody is the longest request body that is read.
const maxBody = 1 << 20

// Server is a stand-in for the CRM. It is safe for concurrent use.
type Server struct {
	cfg    Config
	closed chan struct{} // closed by Close
	once   sync.Once

	// mu guards everything below, with all that the vendors know. The exported methods
	// and ServeHTTP lock it; whatever they call is called with it held, unless its
	// comment says otherwise.
	mu       sync.Mutex
	arrivals []Arrival
	faults   []*armed
	open     openChanges
	journal  *os.File // nil for none
	broken   error    // why no change can be written to the journal any more
	lsq      *leadSquared
	zoho     *zoho
}

// vendor is one of the APIs that the server stands in for.
type vendor interface {
	// route puts the operation that a request asks for into the exchange, "" for none,
	// and returns what handles it, never nil.
	route(x *exchange) func() *reply
	// admit counts a call that has arrived and returns its refusal, nil if it is within
	// the limits.
	admit(x *exchange) *reply
	// refuse is the reply to a call over the rate limit.
	refuse() *reply
	// faulty is the reply to a fault whose form is the vendor's own: FaultNoID,
	// FaultException, FaultWrongHost.
	faulty(f *Fault) *reply
}

// exchange is a request on its way through the server.
type exchange struct {
	r     *http.Request
	query url.Values
	body  []byte
	op    string
	n     int // the number of its arrival
	at    time.Time
	fault *Fault // what it meets, nil for nothing
	// change is what it wants to change, once that has been understood; nil for
	// requests that change nothing.
	change *change
	units  int // of Zoho's concurrency that it takes
}

// New makes a server, with the world that its journal holds. The error says what
// is wrong with the configuration or the journal.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure sandbox: %w", err)
	}
	s := &Server{cfg: cfg, closed: make(chan struct{}), open: openChanges{byTarget: map[Share][]*change{}}}
	s.lsq, s.zoho = newLeadSquared(s), newZoho(s)
	if cfg.Journal == "" {
		return s, nil
	}
	if err := s.readJournal(); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if s.journal, err = os.OpenFile(cfg.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return s, nil
}

// Close lets go of the requests that hang, and of the journal. Changes are refused
// from then on where there is a journal. It may be called again.
func (s *Server) Close() (err error) {
	s.once.Do(func() {
		close(s.closed)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.journal != nil {
			err = s.journal.Close()
		}
	})
	return err
}

// ServeHTTP answers a request to the CRM or to the sandbox's own paths.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		s.control(w, r)
		return
	}
	var v vendor = s.lsq
	if strings.HasPrefix(r.URL.Path, "/crm/") || strings.HasPrefix(r.URL.Path, "/oauth/") {
		v = s.zoho
	}
	x := &exchange{r: r, query: r.URL.Query()}
	handle := v.route(x)
	rep := locked(s, func() *reply {
		x.n, x.at = len(s.arrivals), s.cfg.Now()
		s.arrivals = append(s.arrivals, Arrival{At: x.at, Method: r.Method, Path: r.URL.Path, Op: x.op})
		refusal := v.admit(x)
		s.arrivals[x.n].Refused = refusal != nil
		return refusal
	})
	if rep == nil {
		var err error
		x.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			rep = htmlReply(http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		} else if err != nil {
			rep = htmlReply(http.StatusBadRequest, "Bad Request")
		}
	}
	if rep == nil {
		rep = locked(s, func() *reply {
			x.fault = s.pick(x)
			answer := handle()
			if x.fault.replaces() {
				answer = replacement(v, x.fault)
			}
			return answer
		})
	}
	s.answer(w, x, rep)
}

// answer waits as long as a reply takes and sends it. What the exchange was about
// is closed right before: its client may come with the next change, or with the next
// call of as many as may be in flight, as soon as it has the answer. The server's
// mutex is not held.
func (s *Server) answer(w http.ResponseWriter, x *exchange, rep *reply) {
	ctx, f := x.r.Context(), x.fault
	there := s.wait(ctx, f)
	s.mu.Lock()
	if x.change != nil {
		s.open.end(x.change, there && !f.loses())
	}
	s.zoho.units -= x.units
	if there && !f.silent() {
		arrival := &s.arrivals[x.n]
		arrival.Status, arrival.Refused = rep.status, arrival.Refused || f.is(FaultThrottle)
	}
	s.mu.Unlock()
	if w.Header()["Date"] = nil; !s.cfg.NoDate {
		w.Header().Set("Date", s.cfg.Now().Add(s.cfg.ClockAhead).UTC().Format(http.TimeFormat))
	}
	if there && !send(ctx, w, rep, f) && x.change != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		x.change.lost = true
	}
}

// wait lasts as long as a reply takes, and says whether the client is still there.
// The server's mutex is not held.
func (s *Server) wait(ctx context.Context, f *Fault) bool {
	d := s.cfg.Latency()
	switch {
	case f.is(FaultSlow):
		return sleep(ctx, d+f.Delay)
	case !f.is(FaultHang):
		return sleep(ctx, d)
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.closed:
		return true
	}
}

// locked returns what get returns with the server's mutex held.
func locked[T any](s *Server, get func() T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return get()
}

// AddUser makes a user known, or changes the one with the same id. An empty role
// stands for Sales_User, the only role that records can be shared with. Keys of a
// user who is not active are refused. A user whose id is a number is one of Zoho,
// where the role is the name of the profile, Standard if it is empty.
func (s *Server) AddUser(u crm.User, role string) {
	if zohoID.MatchString(u.ID) {
		s.AddZohoUser(ZohoUser{User: u, Profile: role})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := person{User: u, Role: role}
	if s.lsq.people.put(p) {
		s.keep(record{User: &p})
	}
}

// AddZohoUser makes a user known to Zoho, or changes the one with the same id.
func (s *Server) AddZohoUser(u ZohoUser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.zoho.people.put(u.person()) {
		s.keep(record{Zoho: &zohoEvent{User: &u}})
	}
}

// Seed makes the world one in which op is worth doing: its user and its record
// exist, and if it is a revoke, the share exists; a member of a sales group has the
// operation's permissions. A user given by e-mail address
// is known by that address. A target that has been seeded or changed before is
// left as it is, so that seeding a sheet again undoes nothing; rows of one target
// must be seeded in sheet order. An object that LeadSquared does not have is a
// module of Zoho: the first revoke that names a record of it also gives the record
// to a colleague, who is always the same for a record, at always the same level.
func (s *Server) Seed(op crm.Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seed := seed{At: s.cfg.Now(), Op: op}
	if s.seed(seed) {
		s.keep(record{Seed: &seed})
	}
}

// seed makes the world of an operation, with the vendor that has its object, and
// says whether that changed anything.
func (s *Server) seed(sd seed) bool {
	switch sd.Op.Object {
	case crm.Lead, crm.Opportunity, crm.SalesGroup:
		return s.lsq.seed(sd)
	}
	return s.zoho.seed(sd)
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

// Shares returns what is shared now, processing that is due included, in the
// order of object, record, context and user.
func (s *Server) Shares() []Share {
	return locked(s, func() []Share { return s.lsq.shares(s.cfg.Now()) })
}

// Requests returns every change that was accepted, in that order, as it stands
// now.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, len(s.lsq.requests))
	for i, req := range s.lsq.requests {
		list[i] = s.lsq.view(req, s.cfg.Now())
	}
	return list
}

// Arrivals returns every request that came since the start, in that order. Those
// to the sandbox's own paths are not among them.
func (s *Server) Arrivals() []Arrival {
	return locked(s, func() []Arrival { return slices.Clone(s.arrivals) })
}

// OpenOnOneTarget returns how often a change arrived while another one of the
// same target was in flight or in processing. It stays 0 for a good client. An
// equal revoke, or an equal share whose first answer was lost, may be repeated
// while the first is being processed: that is how a client recovers; so may a change
// of a sales group. Of Zoho, two writes of a record in flight are counted.
func (s *Server) OpenOnOneTarget() int { return locked(s, func() int { return s.open.conflicts }) }

// Grants returns a record's list as it is in force now, in the order in which it
// came about.
func (s *Server) Grants(module, record string) []crm.Grant {
	return locked(s, func() []crm.Grant {
		rec, ok := s.zoho.records[module+"/"+record]
		if !ok {
			return nil
		}
		rec.advance(s.cfg.Now())
		return rec.grants()
	})
}

// Records returns the list of every record of Zoho that was seeded or written, by
// "Module/id".
func (s *Server) Records() map[string][]crm.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]crm.Grant{}
	for key, rec := range s.zoho.records {
		rec.advance(s.cfg.Now())
		if rec.known {
			all[key] = rec.grants()
		}
	}
	return all
}

// Mails returns how many mails Zoho has sent because of writes. It stays 0 for a
// client that declines them all.
func (s *Server) Mails() int { return locked(s, func() int { return s.zoho.mails }) }

// TokenRequests returns how many requests came to Zoho's token endpoint.
func (s *Server) TokenRequests() int { return locked(s, func() int { return s.zoho.tokenRequests }) }

// WritesWithoutLook returns how many writes of a Zoho record came although its
// list had not been read since the attempt to write it before, or ever. An attempt
// counts whatever became of it, refusals included. It stays 0 for a good client.
func (s *Server) WritesWithoutLook() int { return locked(s, func() int { return s.zoho.blind }) }

// StaleWrites returns how many writes of a Zoho record came after its list had
// changed since it was read last: by somebody else, or by a write of its own that was
// still in processing. Nothing in the API lets a client prevent this; the fewer, the
// closer it writes upon its looks.
func (s *Server) StaleWrites() int { return locked(s, func() int { return s.zoho.stale }) }
