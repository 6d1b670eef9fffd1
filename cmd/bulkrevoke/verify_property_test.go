package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// Whatever others change after a random sheet over both CRMs, the verification says
// "no" of exactly those Zoho and group rows that are no longer so.
func TestVerifyAgreesWithTheWorld(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newMixed(rand.New(rand.NewPCG(seed, 5)), 40)
				e := newEngine(t, sandbox.Config{ShowAllPermissions: true}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				e.addZoho()
				m.seed(e.server)
				e.run(t.Context(), m.sheet())
				if no := e.verify(); len(no) > 0 {
					t.Fatalf("rows that do not hold right after the run: %v", no)
				}
				for n := range 40 {
					if m.rng.IntN(3) == 0 {
						grants := e.server.Grants("Quotes", zohoRecord(n))
						for range 1 + m.rng.IntN(2) {
							grants = m.meddled(grants)
						}
						e.server.SeedZoho("Quotes", zohoRecord(n), grants...)
					}
				}
				if diff := cmp.Diff(m.broken(e.server), e.verify()); diff != "" {
					t.Errorf("lines of rows that no longer hold (-model +verification):\n%s", diff)
				}
			})
		})
	}
}

// meddled is a list after somebody else has been at it.
func (m *mixed) meddled(grants []crm.Grant) []crm.Grant {
	user := zohoUser(m.rng.IntN(9))
	at := slices.IndexFunc(grants, func(g crm.Grant) bool { return g.Kind == "user" && g.ID == user })
	switch {
	case at < 0:
		return append(slices.Clone(grants), crm.Grant{Kind: "user", ID: user, Access: crm.Write, Type: "private"})
	case m.rng.IntN(2) == 0:
		return slices.Delete(slices.Clone(grants), at, at+1)
	}
	grants = slices.Clone(grants)
	grants[at].Access = crm.Read + (grants[at].Access-crm.Read+1)%3
	return grants
}

// verify returns the lines of the rows that the engine says "no" of. A row that is
// neither "yes" nor "no" fails the test.
func (e *engine) verify() (lines []int) {
	e.t.Helper()
	b, err := batch.New(e.led, e.opts)
	if err != nil {
		e.t.Fatal(err)
	}
	v, err := b.Verify(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	for row, err := range v.Review.Answers(e.t.Context()) {
		if err != nil {
			e.t.Fatal(err)
		}
		switch row.Answer.Holds {
		case batch.HoldsNot:
			lines = append(lines, row.Line)
		case batch.Holds:
		default:
			e.t.Errorf("line %d: %+v", row.Line, row.Answer)
		}
	}
	return lines
}

// broken returns the lines of the Zoho rows that are not so, by the rule that the
// last row of a target counts, on a record with a revoke_all the last row of each
// user after it.
func (m *mixed) broken(s *sandbox.Server) (lines []int) {
	answers := make([]bool, len(m.rows))
	for i := len(m.rows) - 1; i >= 0; i-- {
		op := m.rows[i].op
		answers[i] = true
		if op.Object != "Quotes" {
			continue
		}
		var after []string // users of later rows
		later := -1
		for k := len(m.rows) - 1; k > i; k-- {
			other := m.rows[k].op
			if other.Object != op.Object || other.Record != op.Record {
				continue
			}
			after = append(after, other.User)
			if other.Action == crm.RevokeAll || other.User == op.User && op.Action != crm.RevokeAll {
				later = k
			}
		}
		if later >= 0 {
			answers[i] = answers[later]
			continue
		}
		var mine *crm.Grant
		others := 0
		for _, g := range s.Grants("Quotes", op.Record) {
			if g.Kind == "user" && g.ID == op.User {
				mine = &g
			}
			if g.Kind != "user" || !slices.Contains(after, g.ID) {
				others++
			}
		}
		switch op.Action {
		case crm.Revoke:
			answers[i] = mine == nil
		case crm.RevokeAll:
			answers[i] = others == 0
		default:
			answers[i] = mine != nil && mine.Access == op.Access && (op.Related == crm.Unsaid || mine.Related == (op.Related == crm.Yes))
		}
	}
	for i, ok := range answers {
		if !ok {
			lines = append(lines, i+2)
		}
	}
	return lines
}
