package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

	// mu guards everything below, and the state of the vendors.
	mu         sync.Mutex
	arrivals   []Arrival
	faults     []*armed
	open       openChanges
	journal    *journal
	journalErr error // the first write that the journal did not take
	lsq        *leadSquared
	zoho       *zoho
}

// vendor is one of the APIs that the server stands in for.
type vendor interface {
	// route names the operation that a request asks for, "" for none, and how it is
	// handled, never nil.
	route(r *http.Request) (op string, handle func(*exchange) reply)
	// admit counts a call that arrives now and says whether it is within the rate
	// limit. The server's mutex is held.
	admit(now time.Time) bool
	// refuse is the reply to a call over the rate limit.
	refuse() reply
	// faulty is the reply to a fault whose form is the vendor's own: FaultNoID,
	// FaultException, FaultWrongHost.
	faulty(f *Fault) reply
}

// exchange is a request on its way through the server.
type exchange struct {
	r     *http.Request
	query url.Values
	body  []byte
	fault *Fault // what it meets, nil for nothing
	// change is what it wants to change, once that has been understood; nil for
	// requests that change nothing.
	change *change
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
	records, err := readJournal(cfg.Journal)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	for _, rec := range records {
		s.replay(rec)
	}
	if s.journal, err = openJournal(cfg.Journal); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return s, nil
}

// Close lets go of the requests that hang, and of the journal. Changes are refused
// from then on where there is a journal. It may be called again.
func (s *Server) Close() error {
	s.once.Do(func() { close(s.closed) })
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.close()
}

// ServeHTTP answers a request to the CRM or to the sandbox's own paths.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		s.control(w, r)
		return
	}
	v := s.vendorOf(r.URL.Path)
	op, handle := v.route(r)
	n, ok := s.arrive(v, r, op)
	if !ok {
		s.answer(w, r, n, v.refuse(), &exchange{})
		return
	}
	if refusal, ok := s.zoho.enter(n, r, op); !ok {
		s.answer(w, r, n, refusal, &exchange{})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		rep := htmlReply(http.StatusBadRequest, "Bad Request")
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			rep = htmlReply(http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		}
		s.answer(w, r, n, rep, &exchange{})
		return
	}
	x := &exchange{r: r, query: r.URL.Query(), body: body}
	x.fault = s.pick(op, x)
	rep := handle(x)
	if x.fault.replaces() {
		rep = replacement(v, x.fault)
	}
	s.answer(w, r, n, rep, x)
}

// arrive notes a request and says whether it is within the rate limit. The number
// is that of its arrival.
func (s *Server) arrive(v vendor, r *http.Request, op string) (n int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	ok = v.admit(now)
	s.arrivals = append(s.arrivals, Arrival{At: now, Method: r.Method, Path: r.URL.Path, Op: op, Refused: !ok})
	return len(s.arrivals) - 1, ok
}

// answer waits as long as a reply takes and sends it. What the exchange was about
// is closed right before: its client may come with the next change as soon as it
// has the answer.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, n int, rep reply, x *exchange) {
	f := x.fault
	there := s.wait(r.Context(), f)
	s.mu.Lock()
	if x.change != nil {
		s.open.end(x.change, there && !f.loses())
	}
	s.zoho.leave(n)
	if there && !f.silent() {
		s.arrivals[n].Status = rep.status
		s.arrivals[n].Refused = s.arrivals[n].Refused || f.is(FaultThrottle)
	}
	s.mu.Unlock()
	if !there {
		return
	}
	if s.send(r.Context(), w, rep, f) || x.change == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x.change.lost = true
}

// wait lasts as long as a reply takes, and says whether the client is still there.
func (s *Server) wait(ctx context.Context, f *Fault) bool {
	d := s.cfg.Latency()
	if f.is(FaultSlow) {
		d += f.Delay
	}
	if !f.is(FaultHang) {
		return sleep(ctx, d)
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.closed:
		return true
	}
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

// Seed makes the world one in which op is worth doing: its user and its record
// exist, and if it is a revoke, the share exists. A user given by e-mail address
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

// Shares returns what is shared now, processing that is due included, in the
// order of object, record, context and user.
func (s *Server) Shares() []Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lsq.shares(s.cfg.Now())
}

// Requests returns every change that was accepted, in that order, as it stands
// now.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lsq.requestsAt(s.cfg.Now())
}

// Arrivals returns every request that came since the start, in that order. Those
// to the sandbox's own paths are not among them.
func (s *Server) Arrivals() []Arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.arrivals)
}

// OpenOnOneTarget returns how often a change arrived while another one of the
// same target was in flight or in processing. It stays 0 for a good client. An
// equal revoke, or an equal share whose first answer was lost, may be repeated
// while the first is being processed: that is how a client recovers; so may a change
// of a sales group. Of Zoho, two writes of a record in flight are counted.
func (s *Server) OpenOnOneTarget() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open.conflicts
}
