package batch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// answers verifies and returns what is known, a word (and code) a row.
func (b *bench) answers(ctx context.Context) (*Verification, string) {
	b.t.Helper()
	batch, err := New(b.led, b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := batch.Verify(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	var words []string
	for row, err := range v.Review.Answers(context.Background()) {
		if err != nil {
			b.t.Fatal(err)
		}
		words = append(words, strings.TrimSuffix(row.Answer.Holds+":"+row.Answer.Code, ":"))
	}
	return v, strings.Join(words, " ")
}

func wantAnswers(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("answers %q, want %q", got, want)
	}
}

// Where the CRM knows request Ids only, the last row of a target is asked about by
// its Id, and once only.
func TestVerifyByRequestID(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := newBench(t, f)
	b.run(t.Context(), "revoke r1 u1", "share r1 u1 write", "revoke r2 u1", "revoke r3 u1", "revoke r3 u1")
	f.looks = 0
	v, got := b.answers(t.Context())
	wantAnswers(t, got, "yes:superseded yes yes yes:superseded yes")
	if f.looks != 3 || v.Asked != 3 {
		t.Errorf("%d looks for %d questions, want 3", f.looks, v.Asked)
	}
	f.settle = func(item crm.Item) crm.Outcome {
		switch item.Op.Record {
		case "r1":
			return crm.Outcome{Status: crm.Failed, Code: "gone"}
		case "r2":
			return crm.Outcome{Status: crm.Accepted, Code: "unknown_id"}
		}
		return crm.Outcome{Status: crm.Done}
	}
	_, got = b.answers(t.Context())
	wantAnswers(t, got, "no:superseded no:gone unknown:unknown_id yes:superseded yes")
	if len(f.sentWords()) != 4 {
		t.Error("verifying has sent something")
	}
}

// Rows that were not done are not asked about, and rows before one that may have
// been done are not said to hold.
func TestVerifyOfRowsThatWereNotDone(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answer = func(item crm.Item) crm.Outcome {
		switch {
		case item.Op.Record == "r1":
			return crm.Outcome{Status: crm.Failed, Code: "no"}
		case item.Op.Action == crm.Share:
			return crm.Outcome{Status: crm.Uncertain}
		case item.Op.Record == "r4":
			return crm.Outcome{Status: crm.Unchanged}
		}
		return crm.Outcome{Status: crm.Accepted}
	}
	b := newBench(t, f)
	b.opts.SkipInvalid = true
	b.run(t.Context(), "revoke r1 u1", "revoke r2 u1", "share r2 u1 write", "revoke x u1", "revoke r3 u1", "revoke r4 u1")
	_, got := b.answers(t.Context())
	wantAnswers(t, got, "no:never_done unknown:in_doubt unknown:in_doubt no:never_done yes unknown:no_request_id")
}

// seer is a fake whose records can be looked at: it shows who has them.
type seer struct {
	*fake
	mu     sync.Mutex // guards what follows
	seen   map[string]crm.State
	looked map[string]int
	fails  int // how many looks bring no answer
	ended  *crm.AccountError
}

func newSeer(t testing.TB) *seer {
	return &seer{fake: newFake(t), seen: make(map[string]crm.State), looked: make(map[string]int)}
}

func (s *seer) Shows(crm.Operation) bool { return true }

func (s *seer) Confirm(ctx context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	record, key := items[0].Op.Record, s.Key(items[0].Op).String()
	if items[0].Ticket != key { // of the run
		return s.fake.Confirm(ctx, items)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]crm.Outcome, len(items))
	s.looked[record]++
	for i, item := range items {
		out[i].Status = crm.Accepted
		if item.Ticket != key || item.Op.Record != record {
			s.t.Errorf("a look at %s is asked about %s with ticket %s", record, item.Op.Record, item.Ticket)
		}
		_, has := direct(s.seen[record], item.Op.User)
		if item.Op.Action == crm.Share == has {
			out[i].Status = crm.Done
		}
	}
	if s.fails > 0 || s.ended != nil {
		s.fails--
		for i := range out {
			out[i] = crm.Outcome{Status: crm.Accepted, Code: "busy", Ended: s.ended}
		}
		return out, crm.State{}
	}
	return out, crm.State{Looked: true, Grants: s.seen[record].Grants}
}

func (s *seer) has(record string, users ...string) {
	var grants []crm.Grant
	for _, u := range users {
		grants = append(grants, crm.Grant{Kind: "user", ID: u, Access: crm.Read})
	}
	s.seen[record] = crm.State{Looked: true, Grants: grants}
}

func benchOf(t testing.TB, s *seer) *bench {
	b := newBench(t, s.fake)
	b.opts.Accounts[0].Provider = s
	return b
}

// Where the CRM can be looked at, one look tells of a record, also of rows that were
// never sent; on a record with a revoke_all the rows after it are what counts.
func TestVerifyByLooking(t *testing.T) {
	t.Parallel()
	s := newSeer(t)
	b := benchOf(t, s)
	s.answer = func(item crm.Item) crm.Outcome {
		if item.Op.Record == "r2" {
			return crm.Outcome{Status: crm.Unchanged}
		}
		return crm.Outcome{Status: crm.Done}
	}
	rows := []string{"revoke r1 u1", "revoke r1 u2", "share r1 u3 read", "revoke r2 u1", "revoke r3 u9", "revoke_all r3", "share r3 u1 read", "revoke r3 u2"}
	b.run(t.Context(), rows...)
	s.has("r1", "u3", "u4")
	s.has("r3", "u1")
	_, got := b.answers(t.Context())
	wantAnswers(t, got, "yes yes yes yes yes:superseded yes yes yes")
	for record, n := range s.looked {
		if n != 1 {
			t.Errorf("%d looks at %s, want 1", n, record)
		}
	}
	s.has("r1", "u1")
	s.has("r2", "u1")
	s.has("r3", "u2", "u5")
	_, got = b.answers(t.Context())
	wantAnswers(t, got, "no:given_back yes no:taken_away no:given_back no:superseded no:given_back no:taken_away no:given_back")
}

// A look without an answer is made again, three times in all.
func TestVerifyLooksAgain(t *testing.T) {
	t.Parallel()
	for fails, want := range map[int]string{2: "yes", 3: "unknown:busy"} {
		t.Run(fmt.Sprint(fails), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSeer(t)
				b := benchOf(t, s)
				b.run(t.Context(), "revoke r1 u1")
				s.fails = fails
				start := time.Now()
				_, got := b.answers(t.Context())
				wantAnswers(t, got, want)
				if took := time.Since(start); took != 6*time.Second {
					t.Errorf("took %v, want pauses of 2 s and 4 s", took)
				}
			})
		})
	}
}

// When an account ends, the rows that were not come to say so.
func TestVerifyOfAnAccountThatEnds(t *testing.T) {
	t.Parallel()
	s, other := newSeer(t), newFake(t)
	b := newBench(t, s.fake, other)
	b.opts.Accounts[0].Provider, b.opts.Accounts[0].Workers = s, 1
	b.run(t.Context(), "revoke r1 u1", "revoke r2 u1", "revoke r3 u1", "revoke r1 u1@@b")
	s.ended = &crm.AccountError{Code: crm.EndQuota, Err: errors.New("used up")}
	v, got := b.answers(t.Context())
	wantAnswers(t, got, "unknown:busy unknown:quota unknown:quota yes")
	if s.looked["r2"]+s.looked["r3"] > 0 || v.Accounts[0].Ended == nil || v.Accounts[1].Ended != nil {
		t.Errorf("looks %v, accounts %+v", s.looked, v.Accounts)
	}
	other.preErr = &crm.AccountError{Code: crm.EndKeys, Err: errors.New("refused")}
	s.ended = nil
	_, got = b.answers(t.Context())
	wantAnswers(t, got, "yes yes yes unknown:keys")
	b.opts.Accounts = b.opts.Accounts[:1]
	_, got = b.answers(t.Context())
	wantAnswers(t, got, "yes yes yes unknown:unknown_account")
}

// Cancelling leaves what is known, and says of the rest that it was not come to.
func TestVerifyIsCancelled(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := newBench(t, f)
	b.opts.Accounts[0].Workers = 1
	b.run(t.Context(), "revoke r1 u1", "revoke r2 u1", "revoke r3 u1")
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	f.settle = func(crm.Item) crm.Outcome {
		cancel(stopped)
		return crm.Outcome{Status: crm.Done}
	}
	v, got := b.answers(ctx)
	if !errors.Is(v.Stopped, stopped) || strings.Count(got, "yes") != 1 || strings.Count(got, "unknown:not_asked") != 2 {
		t.Errorf("answers %q, stopped %v", got, v.Stopped)
	}
}

// Another organisation's answers are worth nothing.
func TestVerifyKnowsItsPlace(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := newBench(t, f)
	b.run(t.Context(), "revoke r1 u1")
	f.owner.Org = "another"
	batch, err := New(b.led, b.opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := batch.Verify(t.Context()); err == nil {
		t.Error("no error")
	} else if _, ok := errors.AsType[*ledger.BindingError](err); !ok {
		t.Errorf("error %v, want a *ledger.BindingError", err)
	}
}
