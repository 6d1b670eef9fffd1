package batch

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// unchangedFake says unchanged to everything, and lists people as told.
type unchangedFake struct {
	*fake
	apart   bool // deleted people are in a list of their own
	former  []crm.User
	formers int
	broken  error // in place of the list
	then    error // after the list
}

func (f *unchangedFake) Do(ctx context.Context, call crm.Call, _ crm.Journal) []crm.Outcome {
	out := make([]crm.Outcome, len(call.Items))
	for i := range out {
		out[i].Status = crm.Unchanged
		if ctx.Err() != nil {
			out[i].Status = crm.Pending
		}
	}
	return out
}

func (f *unchangedFake) Users(ctx context.Context, part crm.Part) iter.Seq2[crm.User, error] {
	if part == crm.Deleted && f.apart {
		f.mu.Lock()
		f.formers++
		f.mu.Unlock()
		return func(yield func(crm.User, error) bool) {
			for _, u := range f.former {
				if !yield(u, nil) {
					return
				}
			}
		}
	}
	return func(yield func(crm.User, error) bool) {
		if f.broken != nil && part == crm.Current {
			f.mu.Lock()
			f.lists++
			f.mu.Unlock()
			yield(crm.User{}, f.broken)
			return
		}
		for u, err := range f.fake.Users(ctx, part) {
			if !yield(u, err) {
				return
			}
		}
		if f.then != nil && part == crm.Current {
			yield(crm.User{}, f.then)
		}
	}
}

func TestUnchangedRevokesOfUnknownUsers(t *testing.T) {
	t.Parallel()
	many := make([]string, 50)
	for i := range many {
		many[i] = "revoke r" + strings.Repeat("1", i+1) + " u7"
	}
	tests := []struct {
		name            string
		users, former   []crm.User
		broken, then    error
		rows            []string
		states          string
		says            string // in the first row's message
		lists, formers  int
		deletedAreApart bool
	}{
		{name: "known and unknown", users: []crm.User{{ID: "u1"}}, rows: []string{"revoke r1 u7", "revoke r1 u1"}, states: "failed unchanged", says: "user id u7", lists: 1},
		{name: "everybody known", users: []crm.User{{ID: "u1"}, {ID: "u2"}}, rows: []string{"revoke r1 u1", "revoke r2 u2"}, states: "unchanged unchanged", lists: 1},
		{name: "shares are not looked at", users: []crm.User{{ID: "u1"}}, rows: []string{"share r1 u7 read"}, states: "unchanged"},
		{name: "somebody who was deactivated", users: []crm.User{{ID: "u7"}}, rows: []string{"revoke r1 u7"}, states: "unchanged", lists: 1},
		{name: "somebody who was deleted", users: []crm.User{{ID: "u1"}}, former: []crm.User{{ID: "u7"}}, deletedAreApart: true, rows: []string{"revoke r1 u7", "revoke r2 u8"}, states: "unchanged failed", lists: 1, formers: 1},
		{name: "the deleted are asked about only if need be", users: []crm.User{{ID: "u1"}}, deletedAreApart: true, rows: []string{"revoke r1 u1"}, states: "unchanged", lists: 1},
		{name: "one list for all", users: []crm.User{{ID: "u1"}}, rows: many, states: strings.TrimSpace(strings.Repeat("failed ", len(many))), says: "nobody in the organisation", lists: 1},
		{name: "an address has been listed already", users: []crm.User{{ID: "u1", Email: "a@x.example"}}, rows: []string{"revoke r1 u7", "revoke r2 a@x.example"}, states: "failed unchanged", lists: 1},
		{name: "no list", broken: errors.New("no scope"), rows: []string{"revoke r1 u7", "revoke r2 u8"}, states: "unchanged unchanged", says: "could not be found out: no scope", lists: 1},
		{name: "a list that breaks off", users: []crm.User{{ID: "u1"}}, then: crm.ErrTooManyUsers, rows: []string{"revoke r1 u7", "revoke r2 u1"}, states: "unchanged unchanged", says: "more than 100000 people", lists: 1},
		{name: "an empty list", rows: []string{"revoke r1 u7"}, states: "unchanged", says: "lists nobody", lists: 1},
		{name: "the account ends", broken: &crm.AccountError{Code: crm.EndKeys, Err: errors.New("x")}, rows: []string{"revoke r1 u7"}, states: "not_attempted", lists: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &unchangedFake{fake: newFake(t), apart: tt.deletedAreApart, former: tt.former, broken: tt.broken, then: tt.then}
				f.users = tt.users
				b := newBench(t, f.fake)
				b.opts.Accounts[0].Provider = f
				_, results := b.run(t.Context(), tt.rows...)
				wantStates(t, results, tt.states)
				if !strings.Contains(results[0].Message, tt.says) {
					t.Errorf("message %q, want %q", results[0].Message, tt.says)
				}
				for _, r := range results {
					if (r.Status.String() == "failed") != (r.Code == crm.CodeUnknownUser) {
						t.Errorf("line %d: %s with code %q", r.Line, r.Status, r.Code)
					}
				}
				if f.lists != tt.lists || f.formers != tt.formers {
					t.Errorf("%d lists and %d of the deleted, want %d and %d", f.lists, f.formers, tt.lists, tt.formers)
				}
			})
		})
	}
}

// TestUnknownUserOnANewRun: a run that goes on finds out about ids as the first one
// does, and a corrected organisation takes the failure away.
func TestUnknownUserOnANewRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &unchangedFake{fake: newFake(t)}
		f.users = []crm.User{{ID: "u1"}}
		b := newBench(t, f.fake)
		b.opts.Accounts[0].Provider = f
		stopped, stop := context.WithCancel(t.Context())
		stop()
		_, results := b.run(stopped, "revoke r1 u7")
		wantStates(t, results, "not_attempted")
		_, results = b.run(t.Context(), "revoke r1 u7")
		wantStates(t, results, "failed")
		time.Sleep(time.Second)
		f.users = append(f.users, crm.User{ID: "u7"})
		_, results = b.run(t.Context(), "revoke r1 u7")
		wantStates(t, results, "unchanged")
		if f.lists != 2 {
			t.Errorf("%d lists, want one in each run that had such a row", f.lists)
		}
	})
}
