package zoho_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

type noJournal struct{}

func (noJournal) Intend(context.Context, crm.State) error { return nil }

// task is what is to be done on a record, and what must be true of it afterwards.
type task struct {
	record string
	before []crm.Grant
	items  []crm.Item
	after  []crm.Grant
}

func randomTask(r *rand.Rand, n int) task {
	t := task{record: fmt.Sprint(4150868000000000000 + int64(n))}
	op := crm.Operation{Object: "Leads", Record: t.record}
	grant := func(id string, a crm.Access) crm.Grant {
		return crm.Grant{Kind: "user", ID: id, Access: a, Related: r.IntN(2) == 0, Type: "private"}
	}
	id := 100
	for range r.IntN(5) {
		id++
		g := grant(fmt.Sprint(id), crm.Access(1+r.IntN(3)))
		t.before, t.after = append(t.before, g), append(t.after, g)
	}
	if r.IntN(3) == 0 {
		g := crm.Grant{Kind: "group", ID: "900", Access: crm.Read, Type: "private"}
		t.before, t.after = append(t.before, g), append(t.after, g)
	}
	for range r.IntN(4) {
		id++
		t.before = append(t.before, grant(fmt.Sprint(id), crm.Read))
		op.Action, op.User = crm.Revoke, fmt.Sprint(id)
		t.items = append(t.items, crm.Item{Op: op})
	}
	if r.IntN(3) == 0 {
		op.Action, op.User, op.Access = crm.Share, "300", crm.Read
		t.items = append(t.items, crm.Item{Op: op})
		t.after = append(t.after, crm.Grant{Kind: "user", ID: "300", Access: crm.Read, Type: "private"})
	}
	if r.IntN(3) == 0 {
		g := grant("301", crm.Read)
		t.before = append(t.before, g)
		op.Action, op.User, op.Access = crm.Share, "301", crm.Full
		t.items = append(t.items, crm.Item{Op: op})
		g.Access = crm.Full
		t.after = append(t.after, g)
	}
	r.Shuffle(len(t.before), func(i, j int) { t.before[i], t.before[j] = t.before[j], t.before[i] })
	return t
}

// randomServer returns a CRM that works slowly, loses answers, throttles, and
// refuses to write a bystander back once.
func randomServer(t *testing.T, r *rand.Rand) *sandbox.Server {
	t.Helper()
	slow := time.Duration(r.IntN(4)) * time.Second
	s, err := sandbox.New(sandbox.Config{
		Limit: -1, Latency: func() time.Duration { return 50 * time.Millisecond },
		Zoho: sandbox.ZohoConfig{
			BusyReads: r.IntN(2) == 0, TokenCalls: []int{0, 0, 40}[r.IntN(3)], TokenLimit: -1,
			Partial: sandbox.PartialPut(r.IntN(3)), Processing: func() time.Duration { return slow },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := []sandbox.FaultKind{
		sandbox.FaultResetBefore, sandbox.FaultResetAfter, sandbox.FaultEmpty500, sandbox.FaultHTML,
		sandbox.FaultThrottle, sandbox.FaultTruncate, sandbox.FaultHang,
	}
	ops := []string{"Zoho.Share.Put", "Zoho.Share.Delete", "Zoho.Share.Post", "Zoho.Share.Get"}
	for range r.IntN(6) {
		s.Fault(sandbox.Fault{Op: ops[r.IntN(len(ops))], Kind: kinds[r.IntN(len(kinds))], Times: 1 + r.IntN(2), After: r.IntN(6)})
	}
	if r.IntN(2) == 0 {
		s.Fault(sandbox.Fault{Op: ops[0], Kind: sandbox.FaultRefuseEntry, Match: "101", Type: "INVALID_DATA", Text: "cannot share to the user", Times: 1})
	}
	return s
}

// settle does a task as an engine would: it comes back when told to, tries failures
// again that say so, and confirms what was accepted.
func settle(t *testing.T, p *zoho.Provider, busy chan struct{}, task task) {
	items := task.items
	for tries := 0; len(items) > 0; tries++ {
		if tries > 10 {
			t.Errorf("record %s never comes to an end", task.record)
			return
		}
		if tries > 0 {
			time.Sleep(2 * time.Second << tries)
		}
		busy <- struct{}{}
		out := p.Do(t.Context(), crm.Call{ID: "c", Items: items}, noJournal{})
		<-busy
		var next, accepted []crm.Item
		for i, o := range out {
			again := strings.Contains(o.Message, "those who stay") || strings.Contains(o.Message, "running again")
			switch {
			case o.Ended != nil, o.Status == crm.Uncertain, o.Status == crm.Failed && !again:
				t.Errorf("record %s: %+v", task.record, o)
				return
			case o.Status == crm.Pending, o.Status == crm.Failed:
				item := items[i]
				if o.Uncertain {
					item.Prior = crm.PriorUnanswered
				}
				next = append(next, item)
			case o.Status == crm.Accepted:
				accepted = append(accepted, items[i])
			}
		}
		confirm(t, p, busy, accepted)
		items = next
	}
}

func confirm(t *testing.T, p *zoho.Provider, busy chan struct{}, items []crm.Item) {
	for looks := 0; len(items) > 0; looks++ {
		if looks > 10 {
			t.Errorf("never confirmed: %+v", items)
			return
		}
		time.Sleep(2 * time.Second)
		busy <- struct{}{}
		out, _ := p.Confirm(t.Context(), items)
		<-busy
		var next []crm.Item
		for i, o := range out {
			switch o.Status {
			case crm.Done:
			case crm.Accepted:
				next = append(next, items[i])
			default:
				t.Errorf("confirm: %+v", o)
			}
		}
		items = next
	}
}

// Whatever goes wrong on the way: every bystander ends as before, no leaver is left,
// what was shared is shared, nobody gets mail, and no write goes out without a
// fresh look.
func TestStorm(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { storm(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func storm(t *testing.T, r *rand.Rand) {
	s := randomServer(t, r)
	defer s.Close()
	gate, err := transport.NewGate(transport.GateConfig{Limit: 10, Window: time.Second, MaxInFlight: 5})
	if err != nil {
		t.Fatal(err)
	}
	p, err := zoho.New(zoho.Config{
		APIURL: "http://localhost", AccountsURL: "http://localhost", Composite: r.IntN(2) == 0,
		ClientID: "id", ClientSecret: transport.NewSecret("secret"), RefreshToken: transport.NewSecret("refresh"),
	}, transport.Config{Gate: gate, RoundTripper: s.RoundTripper()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tasks []task
	for n := range 10 {
		task := randomTask(r, n)
		if len(task.before) > 0 {
			s.SeedZoho("Leads", task.record, task.before...)
		}
		tasks = append(tasks, task)
	}
	busy := make(chan struct{}, 5)
	var all sync.WaitGroup
	for _, task := range tasks {
		all.Go(func() { settle(t, p, busy, task) })
	}
	all.Wait()
	time.Sleep(10 * time.Second) // whatever is under way still
	order := func(a, b crm.Grant) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) }
	for _, task := range tasks {
		got, want := s.Grants("Leads", task.record), task.after
		slices.SortFunc(got, order)
		slices.SortFunc(want, order)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("record %s (-want +got):\n%s", task.record, diff)
		}
	}
	if s.WritesWithoutLook() != 0 || s.Mails() != 0 || s.OpenOnOneTarget() != 0 {
		t.Errorf("%d writes without a look, %d mails, %d at the same time on one record; want none",
			s.WritesWithoutLook(), s.Mails(), s.OpenOnOneTarget())
	}
}
