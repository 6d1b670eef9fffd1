package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// conformer is a provider with a world in which it can be put to every test that a
// provider has to pass.
type conformer struct {
	name   string
	rules  crm.Rules // as an account has them before it is connected
	open   func(t *testing.T, rt *sandbox.Server, gate *transport.Gate) crm.Provider
	change string // the sandbox's name of a change
	revoke crm.Operation
	share  crm.Operation
	// absent is a revoke of what is not there, where the CRM shows that.
	absent *crm.Operation
	// blind says that the CRM shows nobody what is shared, so that a share whose answer
	// was lost can not be looked up.
	blind bool
}

func conformers() []conformer {
	lead := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "7", Context: guidOf('c', 1), User: guidOf('u', 1), Access: crm.Read}
	member := crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: guidOf('g', 1), User: guidOf('u', 1)}
	quote := crm.Operation{Action: crm.Revoke, Object: "Quotes", Record: zohoRecord(1), User: zohoUser(1)}
	share := func(op crm.Operation, access crm.Access) crm.Operation {
		op.Action, op.Access = crm.Share, access
		return op
	}
	other := func(op crm.Operation, user string) *crm.Operation {
		op.User = user
		return &op
	}
	leadSquared, err := leadsquared.NewRules(leadsquared.Config{})
	if err != nil {
		panic(err) // with no settings there is nothing to refuse
	}
	return []conformer{
		{name: "leadsquared lead", rules: leadSquared, open: openConformingLeadSquared, change: "EntityAccess.Revoke", revoke: lead, share: share(lead, crm.Write), blind: true},
		{name: "leadsquared group", rules: leadSquared, open: openConformingLeadSquared, change: "UserGroup.RemoveUsers", revoke: member,
			share: share(member, crm.AccessUnset), absent: other(member, guidOf('u', 5))},
		{name: "zoho", rules: zoho.Rules{}, open: openConformingZoho, change: "Zoho.Share.Put", revoke: quote, share: share(quote, crm.Full), absent: other(quote, zohoUser(5))},
	}
}

func openConformingLeadSquared(t *testing.T, s *sandbox.Server, gate *transport.Gate) crm.Provider {
	t.Helper()
	p, err := leadsquared.New(leadsquared.Config{
		Host: "api.leadsquared.example", AccessKey: transport.NewSecret("u$r0123456789"), SecretKey: transport.NewSecret("s0123456789"),
	}, transport.Config{Gate: gate, RoundTripper: s.RoundTripper()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openConformingZoho(t *testing.T, s *sandbox.Server, gate *transport.Gate) crm.Provider {
	t.Helper()
	p, err := zoho.New(zoho.Config{
		APIURL: "http://127.0.0.1:1", AccountsURL: "http://127.0.0.1:1", ClientID: "client",
		ClientSecret: transport.NewSecret("client-secret"), RefreshToken: transport.NewSecret("refresh-token"),
	}, transport.Config{Gate: gate, RoundTripper: s.RoundTripper()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// intents is a journal that counts, and may refuse.
type intents struct {
	mu    sync.Mutex
	n     int
	err   error
	hook  func()
	shows []crm.State
}

func (j *intents) Intend(_ context.Context, before crm.State) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.n++
	j.shows = append(j.shows, before)
	if j.hook != nil {
		j.hook()
	}
	return nil
}

// stage is one provider in one bubble.
type conformStage struct {
	t       *testing.T
	c       conformer
	server  *sandbox.Server
	p       crm.Provider
	journal *intents
}

func (s *conformStage) do(ctx context.Context, op crm.Operation, prior crm.Prior) crm.Outcome {
	s.t.Helper()
	checked, err := s.p.Check(op)
	if err != nil {
		s.t.Fatal(err)
	}
	outs := s.p.Do(ctx, crm.Call{ID: "c1", Items: []crm.Item{{Op: checked, Prior: prior}}}, s.journal)
	if len(outs) != 1 {
		s.t.Fatalf("%d outcomes for one operation", len(outs))
	}
	return outs[0]
}

// changesSeen counts the changes that arrived and were not refused by a limit.
func (s *conformStage) changesSeen() int {
	n := 0
	for _, a := range s.server.Arrivals() {
		if changes(a) && !a.Refused {
			n++
		}
	}
	return n
}

// confirm asks until the operation is settled.
func (s *conformStage) confirm(op crm.Operation, ticket string) crm.Outcome {
	s.t.Helper()
	for range 20 {
		time.Sleep(time.Second)
		checked, _ := s.p.Check(op)
		outs, _ := s.p.Confirm(s.t.Context(), []crm.Item{{Op: checked, Ticket: ticket}})
		if len(outs) != 1 {
			s.t.Fatalf("%d outcomes for one operation", len(outs))
		}
		if outs[0].Status != crm.Accepted {
			return outs[0]
		}
	}
	s.t.Fatal("never confirmed")
	return crm.Outcome{}
}

// TestConformance is what every provider has to pass.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		run  func(s *conformStage)
	}{
		{"accepted, then done", func(s *conformStage) {
			out := s.do(s.t.Context(), s.c.revoke, crm.PriorNone)
			if out.Status != crm.Accepted || out.Ticket == "" || out.Attempts != 1 || s.journal.n != 1 {
				s.t.Fatalf("outcome %+v after %d intents, want accepted with a ticket", out, s.journal.n)
			}
			// The ticket is self-contained: another provider can ask with it.
			s.p = s.c.open(s.t, s.server, newConformGate(s.t))
			if out := s.confirm(s.c.revoke, out.Ticket); out.Status != crm.Done {
				s.t.Errorf("confirmed as %+v, want done", out)
			}
		}},
		{"rules before it is connected", func(s *conformStage) {
			odd := s.c.revoke
			odd.Record = "x y"
			for _, op := range []crm.Operation{s.c.revoke, s.c.share, {}, odd} {
				before, wrongBefore := s.c.rules.Check(op)
				after, wrong := s.p.Check(op)
				if before != after || fmt.Sprint(wrongBefore) != fmt.Sprint(wrong) {
					s.t.Errorf("checked as %+v, %v without a connection and as %+v, %v with one", before, wrongBefore, after, wrong)
				}
				if _, field := errors.AsType[*crm.FieldError](wrong); wrong != nil && !field {
					s.t.Errorf("Check says %T, want a field error", wrong)
				}
				name, most := s.c.rules.Bundle(op)
				nameAfter, mostAfter := s.p.Bundle(op)
				if s.c.rules.Key(op) != s.p.Key(op) || s.c.rules.Shows(op) != s.p.Shows(op) || name != nameAfter || most != mostAfter ||
					s.c.rules.Cost(op, 7, true) != s.p.Cost(op, 7, true) {
					s.t.Errorf("the rules for %+v change with the connection", op)
				}
			}
			if got := len(s.server.Arrivals()); got != 0 {
				s.t.Errorf("%d calls were made for rules", got)
			}
		}},
		{"who it is, and who else", func(s *conformStage) {
			id, err := s.p.Identify(s.t.Context())
			if err != nil || id.User == "" || id.Org == "" {
				s.t.Fatalf("identified as %+v, %v", id, err)
			}
			members := 0
			for u, err := range s.p.Users(s.t.Context(), crm.Current) {
				if members++; err != nil || u.ID == "" {
					s.t.Fatalf("listed %+v, %v", u, err)
				}
			}
			if members == 0 {
				s.t.Error("nobody was listed, not even whose keys these are")
			}
			for _, err := range s.p.Users(s.t.Context(), crm.Deleted) {
				if err != nil {
					s.t.Errorf("those who were deleted could not be listed: %v", err)
				}
			}
		}},
		{"a look says what it saw", func(s *conformStage) {
			op, err := s.p.Check(s.c.revoke)
			if err != nil {
				s.t.Fatal(err)
			}
			outs, seen := s.p.Confirm(s.t.Context(), []crm.Item{{Op: op, Ticket: "6f3a2b9ce11cbc6c4eb00000000000ff"}})
			if len(outs) != 1 || outs[0].Status == crm.Done {
				s.t.Fatalf("outcomes %+v of what was never revoked", outs)
			}
			has := slices.ContainsFunc(seen.Grants, func(g crm.Grant) bool { return g.Kind == crm.KindUser && g.ID == op.User })
			if shows := s.c.rules.Shows(op); seen.Looked != shows || has != shows {
				s.t.Errorf("saw %+v; want a look that shows the user: %v", seen, shows)
			}
			if s.journal.n != 0 || s.changesSeen() != 0 {
				s.t.Errorf("%d intents and %d changes by a look", s.journal.n, s.changesSeen())
			}
		}},
		{"unchanged", func(s *conformStage) {
			if s.c.absent == nil {
				// The CRM shows nobody what is shared: it accepts, and ends in success.
				if out := s.do(s.t.Context(), s.c.revoke, crm.PriorNone); out.Status != crm.Accepted {
					s.t.Errorf("outcome %+v, want accepted", out)
				}
				return
			}
			out := s.do(s.t.Context(), *s.c.absent, crm.PriorNone)
			if out.Status != crm.Unchanged || s.journal.n != 0 || s.changesSeen() != 0 {
				s.t.Errorf("outcome %+v after %d intents and %d changes, want unchanged and nothing sent", out, s.journal.n, s.changesSeen())
			}
		}},
		{"refused", func(s *conformStage) {
			s.server.Fault(sandbox.Fault{Op: s.c.change, Kind: sandbox.FaultException, Type: s.refusal(), Text: "no such thing", Status: s.refusalStatus()})
			out := s.do(s.t.Context(), s.c.revoke, crm.PriorNone)
			if out.Status != crm.Failed || out.Code != s.refusal() || !strings.Contains(out.Message, "no such thing") || out.Uncertain || out.Ended != nil {
				s.t.Errorf("outcome %+v, want it failed with the CRM's code and text", out)
			}
			if s.changesSeen() != 1 {
				s.t.Errorf("%d changes were sent, want a deterministic refusal not to be repeated", s.changesSeen())
			}
		}},
		{"throttled", func(s *conformStage) {
			s.server.Fault(sandbox.Fault{Op: s.c.change, Kind: sandbox.FaultThrottle, Times: 2})
			start := time.Now()
			out := s.do(s.t.Context(), s.c.revoke, crm.PriorNone)
			if out.Status != crm.Accepted || out.Attempts != 1 {
				s.t.Errorf("outcome %+v, want it accepted at the first attempt that counts", out)
			}
			if took := time.Since(start); took < 2*time.Second {
				s.t.Errorf("took %v, want the account to have paused twice", took)
			}
		}},
		{"answer lost, the change done", func(s *conformStage) {
			s.server.Fault(sandbox.Fault{Op: s.c.change, Kind: sandbox.FaultResetAfter, Times: 1})
			out := s.do(s.t.Context(), s.c.revoke, crm.PriorNone)
			if out.Status == crm.Accepted {
				out = s.confirm(s.c.revoke, out.Ticket)
			}
			if out.Status != crm.Done {
				s.t.Errorf("outcome %+v, want it done in the end", out)
			}
		}},
		{"answer lost for good", func(s *conformStage) {
			s.server.Fault(sandbox.Fault{Op: s.c.change, Kind: sandbox.FaultResetBefore})
			out := s.do(s.t.Context(), s.c.revoke, crm.PriorNone)
			if out.Status != crm.Failed || !out.Uncertain || out.Attempts < 1 || out.Attempts > 3 {
				s.t.Errorf("outcome %+v, want it failed after at most 3 attempts, perhaps done", out)
			}
		}},
		{"a share whose answer was lost in an earlier run", func(s *conformStage) {
			out := s.do(s.t.Context(), s.c.share, crm.PriorUnanswered)
			switch sent := s.changesSeen(); {
			case s.c.blind && (out.Status != crm.Uncertain || sent != 0):
				s.t.Errorf("outcome %+v with %d changes, want it unknown and nothing sent", out, sent)
			case !s.c.blind && out.Status != crm.Accepted && out.Status != crm.Done:
				s.t.Errorf("outcome %+v, want it looked up and done", out)
			}
		}},
		{"cancelled before anything was sent", func(s *conformStage) {
			ctx, cancel := context.WithCancelCause(s.t.Context())
			cancel(errors.New("stop"))
			out := s.do(ctx, s.c.revoke, crm.PriorNone)
			if out.Status != crm.Pending || s.journal.n != 0 || s.changesSeen() != 0 || out.Ended != nil {
				s.t.Errorf("outcome %+v after %d intents, want not sent", out, s.journal.n)
			}
		}},
		{"cancelled while a change is on its way", func(s *conformStage) {
			ctx, cancel := context.WithCancelCause(s.t.Context())
			s.journal.hook = func() { cancel(errors.New("stop")) }
			out := s.do(ctx, s.c.revoke, crm.PriorNone)
			if out.Status != crm.Accepted || s.changesSeen() != 1 {
				s.t.Errorf("outcome %+v with %d changes, want the open call to finish", out, s.changesSeen())
			}
		}},
		{"the ledger can not take the intent", func(s *conformStage) {
			s.journal.err = errors.New("disk full")
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
			defer cancel()
			out := s.do(ctx, s.c.revoke, crm.PriorNone)
			if out.Status != crm.Pending || s.changesSeen() != 0 {
				s.t.Errorf("outcome %+v with %d changes, want nothing sent", out, s.changesSeen())
			}
		}},
	} {
		for _, c := range conformers() {
			t.Run(tc.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server, err := sandbox.New(sandbox.Config{Limit: -1, Processing: func() time.Duration { return 500 * time.Millisecond }})
					if err != nil {
						t.Fatal(err)
					}
					defer server.Close()
					if c.name != "zoho" {
						server.Seed(c.revoke)
					} else {
						server.SeedZoho(c.revoke.Object, c.revoke.Record,
							crm.Grant{Kind: "user", ID: c.revoke.User, Access: crm.Read, Type: "private"},
							crm.Grant{Kind: "user", ID: zohoUser(2), Access: crm.Full, Related: true, Type: "private"})
					}
					s := &conformStage{t: t, c: c, server: server, journal: &intents{}}
					s.p = c.open(t, server, newConformGate(t))
					tc.run(s)
					if n := server.WritesWithoutLook(); n > 0 {
						t.Errorf("%d writes without a fresh look", n)
					}
				})
			})
		}
	}
}

func newConformGate(t *testing.T) *transport.Gate {
	t.Helper()
	gate, err := transport.NewGate(transport.GateConfig{Limit: 25, Window: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gate.Close(); err != nil {
			t.Error(err)
		}
	})
	return gate
}

// refusal is a code with which the CRM refuses a row.
func (s *conformStage) refusal() string {
	if s.c.name == "zoho" {
		return "NO_PERMISSION"
	}
	return "MXUnknownThingException"
}

func (s *conformStage) refusalStatus() int {
	if s.c.name == "zoho" {
		return 403
	}
	return 500
}
