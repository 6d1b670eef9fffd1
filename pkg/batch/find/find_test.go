package find

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// fake is a CRM of which a finder sees everything.
type fake struct {
	sight   crm.Sight
	users   []crm.User
	groups  map[string][]crm.Membership
	modules []crm.Module
	records map[string][]string // by module, rising
	grants  map[crm.RecordID][]crm.Grant
	owned   map[string]int64

	mu    sync.Mutex // guards what follows
	looks map[crm.RecordID]int
	// fault, if it is not nil, may answer a look in another way.
	fault func(f *fake, id crm.RecordID, n int) *crm.Look
	n     int
}

func (f *fake) Identify(context.Context) (crm.Identity, error) {
	return crm.Identity{User: "owner", Org: "org"}, nil
}

func (f *fake) Users(context.Context, crm.Part) iter.Seq2[crm.User, error] {
	return func(yield func(crm.User, error) bool) {
		for _, u := range f.users {
			if !yield(u, nil) {
				return
			}
		}
	}
}

func (f *fake) Sees() crm.Sight { return f.sight }

func (f *fake) Memberships(ctx context.Context, user string) ([]crm.Membership, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if user == "hidden" {
		return nil, &crm.Unseen{Code: "NO_PERMISSION", Message: "no"}
	}
	return f.groups[user], nil
}

func (f *fake) Modules(context.Context) ([]crm.Module, error) { return f.modules, nil }

func (f *fake) Records(ctx context.Context, object, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		f.mu.Lock()
		all := slices.Clone(f.records[object])
		f.mu.Unlock()
		for _, id := range all {
			if ctx.Err() != nil {
				yield("", context.Cause(ctx))
				return
			}
			if (len(id) > len(after) || id > after) && !yield(id, nil) {
				return
			}
		}
	}
}

func (f *fake) Count(_ context.Context, object string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.records[object])), nil
}

func (f *fake) Owned(context.Context, string) (map[string]int64, error) { return f.owned, nil }

func (f *fake) Look(ctx context.Context, records []crm.RecordID) []crm.Look {
	out := make([]crm.Look, len(records))
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, id := range records {
		if ctx.Err() != nil {
			out[i].Refused = &crm.Unseen{Message: context.Cause(ctx).Error()}
			continue
		}
		f.looks[id]++
		f.n++
		out[i].State = crm.State{Looked: true, Grants: f.grants[id]}
		if f.fault != nil {
			if other := f.fault(f, id, f.n); other != nil {
				out[i] = *other
			}
		}
	}
	return out
}

// anyRules takes every operation as it is.
type anyRules struct{ crm.Rules }

func (anyRules) Check(op crm.Operation) (crm.Operation, error) { return op, nil }

// newFake returns a CRM of two modules with n records each, of which leaver has every fifth
// in one of several ways.
func newFake(n int) *fake {
	f := &fake{
		sight: crm.Sight{Groups: true, Records: true, Lists: true, Looks: 3, IDs: 50},
		users: []crm.User{
			{ID: "leaver", Email: "leaver@x.example", Active: true, Role: "sales"}, {ID: "next", Email: "next@x.example"},
			{ID: "other", Email: "other@x.example"}, {ID: "owner", Email: "owner@x.example"},
		},
		groups: map[string][]crm.Membership{"leaver": {{ID: "g1", Name: "Night"}}}, records: make(map[string][]string), owned: map[string]int64{"leaver": 3, "other": 90},
		modules: []crm.Module{{Name: "Leads"}, {Name: "Deals"}, {Name: "Open", Public: true}, {Name: "Tasks", Skip: "not by themselves"}},
		grants:  make(map[crm.RecordID][]crm.Grant), looks: make(map[crm.RecordID]int),
	}
	for m, module := range []string{"Leads", "Deals"} {
		for i := range n {
			id := strconv.Itoa(1000 + m*1000 + i)
			f.records[module] = append(f.records[module], id)
			grants := []crm.Grant{{Kind: crm.KindUser, ID: "other", Access: crm.Full}}
			switch i % 25 {
			case 0, 5:
				grants = append(grants, crm.Grant{Kind: crm.KindUser, ID: "leaver", Access: crm.Write})
			case 10:
				grants = append(grants, crm.Grant{Kind: crm.KindUser, ID: "leaver", Access: crm.Read, Through: "Accounts/7"})
			case 15:
				grants = append(grants, crm.Grant{Kind: crm.KindGroup, ID: "g1", Access: crm.Read}, crm.Grant{Kind: crm.KindRole, ID: "sales", Access: crm.Read})
			case 20:
				grants = append(grants, crm.Grant{Kind: crm.KindPublic, Access: crm.Read})
			}
			f.grants[crm.RecordID{Object: module, Record: id}] = grants
		}
	}
	return f
}

// ask is the question that tests ask of a fake.
func (f *fake) ask(o Options) *Find {
	if o.People == nil {
		o.People = &People{Sheet: "people.csv", SHA256: "p", All: []Person{{Line: 2, ID: "leaver", Successor: "next", LastDay: "2026-01-31"}}}
	}
	o.Accounts = []Account{{Name: "a", CRM: "fake", Host: "h", Rules: anyRules{}, Finder: f, Workers: 4}}
	o.Now = func() time.Time { return time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC) }
	return New(o)
}

// finish does a find with a work file, and returns its rows as text.
func finish(ctx context.Context, t testing.TB, f *Find, path string, changed func()) (rows []string, runErr error) {
	t.Helper()
	must(t, f.Learn(context.Background()))
	digest, err := f.Digest(context.Background())
	must(t, err)
	w, _, err := OpenWork(path, digest, time.Now())
	must(t, err)
	w.changed = changed
	_, err = f.Plan(context.Background(), w)
	must(t, err)
	runErr = f.Run(ctx)
	var counts Counts
	for row, err := range f.Rows(context.Background(), &counts) {
		must(t, err)
		rows = append(rows, strings.Join(f.Cells(&row), "|"))
	}
	must(t, w.Close(false))
	return rows, runErr
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var everything = Options{AllModules: true, Review: true}

func TestFindAll(t *testing.T) {
	t.Parallel()
	crmFake := newFake(50)
	f := crmFake.ask(Options{AllModules: true})
	path := filepath.Join(t.TempDir(), "x.work")
	rows, err := finish(t.Context(), t, f, path, nil)
	must(t, err)
	want := []string{
		"revoke|Leads|1000|leaver||write|false||a|2026-01-31|seen|2026-11-27T00:00:00.000Z|",
		"share|Leads|1000|next||write|false||a|2026-01-31||2026-11-27T00:00:00.000Z|takes over from user leaver",
	}
	if len(rows) != 16 {
		t.Errorf("%d rows, want 16", len(rows))
	}
	if diff := cmp.Diff(want, rows[:2]); diff != "" {
		t.Error(diff)
	}
	c := f.Coverage(Counts{})
	var parts []string
	for _, p := range c.Accounts[0].Parts {
		parts = append(parts, fmt.Sprint(p.Part, " ", p.Scope, " ", p.Listed, p.LookedAt, p.Complete, " ", p.Note))
	}
	wantParts := []string{
		"groups 1 person 1 1 true ",
		"module Leads 50 50 true 3 of its records owned by these people",
		"module Deals 50 50 true 3 of its records owned by these people",
		"module Open 0 0 false everybody sees every record of it, so that no share matters",
		"module Tasks 0 0 false not by themselves",
	}
	if diff := cmp.Diff(wantParts, parts); diff != "" || !c.Complete {
		t.Errorf("complete %v: %s", c.Complete, diff)
	}
	for id, n := range crmFake.looks {
		if n != 1 {
			t.Errorf("%v was looked at %d times", id, n)
		}
	}
	// Review has all four ways, what everybody has once and without a user.
	all, err := finish(t.Context(), t, newFake(50).ask(everything), filepath.Join(t.TempDir(), "x.work"), nil)
	must(t, err)
	for _, want := range []string{"|Leads|1010|leaver||read|||a|2026-01-31|inherited|", "|Leads|1015|leaver||read|||a|2026-01-31|group|", "|Leads|1015|leaver||read|||a|2026-01-31|role|", "|Leads|1020|||read|||a||public|"} {
		if n := len(slices.DeleteFunc(slices.Clone(all), func(row string) bool { return !strings.HasPrefix(row, want) })); n != 1 {
			t.Errorf("%d rows begin with %s", n, want)
		}
	}
}

// A find that was killed after any line of its work file, or in the midst of one, ends with
// the same rows, and looks at nothing again that stands there.
func TestFindGoesOnFromEveryPoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "whole.work")
	var points [][]byte
	want, err := finish(t.Context(), t, newFake(60).ask(everything), path, func() {
		text, err := os.ReadFile(path)
		must(t, err)
		points = append(points, text)
	})
	must(t, err)
	if len(points) < 8 {
		t.Fatalf("%d points, want more", len(points))
	}
	last := []byte{}
	for i, text := range points {
		torn := []int{len(text)}
		if line := text[min(len(last), len(text)):]; len(line) > 2 {
			torn = append(torn, len(text)-1, len(text)-len(line)/2, len(text)-len(line)+1)
		}
		last = text
		for _, n := range torn {
			path := filepath.Join(dir, fmt.Sprintf("%d-%d.work", i, n))
			must(t, os.WriteFile(path, text[:n], 0o600))
			again := newFake(60)
			got, err := finish(t.Context(), t, again.ask(everything), path, nil)
			must(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("from line %d, %d bytes: %s", i, n, diff)
			}
			whole := bytes.Count(text[:n], []byte("\n")) == i+1
			if whole && i == len(points)-1 && len(again.looks) > 0 {
				t.Errorf("%d looks after all was seen", len(again.looks))
			}
		}
	}
}

// Faults are told of in the coverage, and never as complete.
func TestFindFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		fault    func(f *fake, id crm.RecordID, n int) *crm.Look
		complete bool
		rows     int // without successors; -1 is not looked at
		want     string
	}{
		{"gone", func(_ *fake, id crm.RecordID, _ int) *crm.Look {
			if id.Record == "1000" {
				return &crm.Look{Gone: true}
			}
			return nil
		}, true, 7, "50 50 1 0 0 true"},
		{"refused", func(_ *fake, id crm.RecordID, _ int) *crm.Look {
			if id.Record == "1001" {
				return &crm.Look{Refused: &crm.Unseen{Code: "X", Message: "no"}}
			}
			return nil
		}, false, 8, "50 49 0 1 0 false1 refused: X: no"},
		{"no answer", func(_ *fake, id crm.RecordID, _ int) *crm.Look {
			if id.Record == "1001" {
				return &crm.Look{}
			}
			return nil
		}, false, 8, "50 49 0 1 0 false1 refused: no answer says who has it"},
		{"ended", func(_ *fake, id crm.RecordID, n int) *crm.Look {
			if id.Record >= "1030" {
				return &crm.Look{Ended: &crm.AccountError{Code: crm.EndQuota, Err: errors.New("used up")}}
			}
			return nil
		}, false, 3, "50 30 0 0 20 falsestopped before the rest"},
		{"made meanwhile", func(f *fake, _ crm.RecordID, n int) *crm.Look {
			if n == 10 {
				f.records["Leads"] = append(f.records["Leads"], "1999")
				f.grants[crm.RecordID{Object: "Leads", Record: "1999"}] = []crm.Grant{{Kind: crm.KindUser, ID: "leaver", Access: crm.Read}}
			}
			return nil
		}, true, 9, "51 51 0 0 0 true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			crmFake := newFake(50)
			crmFake.fault = c.fault
			people := &People{Sheet: "people.csv", All: []Person{{Line: 2, ID: "leaver"}}}
			f := crmFake.ask(Options{AllModules: true, People: people})
			path := filepath.Join(t.TempDir(), "x.work")
			rows, err := finish(t.Context(), t, f, path, nil)
			must(t, err)
			cov := f.Coverage(Counts{})
			p := cov.Accounts[0].Parts[1]
			note, _, _ := strings.Cut(strings.ReplaceAll(p.Note, "3 of its records owned by these people", ""), "; ")
			got := fmt.Sprint(p.Listed, p.LookedAt, p.Gone, p.Refused, p.Skipped, " ", p.Complete) + note
			if got != c.want && !strings.HasPrefix(got, c.want) || cov.Complete != c.complete || len(rows) != c.rows {
				t.Errorf("coverage %q, complete %v, %d rows; want %q, %v, %d", got, cov.Complete, len(rows), c.want, c.complete, c.rows)
			}
			if c.name != "ended" {
				return
			}
			crmFake.fault = nil
			again := crmFake.ask(Options{AllModules: true, People: people})
			rows, err = finish(t.Context(), t, again, path, nil)
			must(t, err)
			if !again.Coverage(Counts{}).Complete || len(rows) != 8 {
				t.Errorf("after going on: %d rows, %+v", len(rows), again.Coverage(Counts{}))
			}
		})
	}
}

// Nothing of what was under way when a find is stopped is lost or taken for seen.
func TestFindStopped(t *testing.T) {
	t.Parallel()
	crmFake := newFake(60)
	path := filepath.Join(t.TempDir(), "x.work")
	want, err := finish(t.Context(), t, newFake(60).ask(everything), filepath.Join(t.TempDir(), "y.work"), nil)
	must(t, err)
	for n := 7; ; n += 11 {
		ctx, cancel := context.WithCancel(t.Context())
		crmFake.n = 0
		crmFake.fault = func(_ *fake, _ crm.RecordID, at int) *crm.Look {
			if at == n {
				cancel()
			}
			return nil
		}
		rows, err := finish(ctx, t, crmFake.ask(everything), path, nil)
		cancel()
		if err == nil {
			if diff := cmp.Diff(want, rows); diff != "" {
				t.Error(diff)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

func TestWorkFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.work")
	must(t, os.WriteFile(path, []byte("my notes\n"), 0o600))
	if _, _, err := OpenWork(path, "d", time.Now()); err == nil || !strings.Contains(err.Error(), "is no work file of find") {
		t.Errorf("a foreign file: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "my notes\n" {
		t.Errorf("a foreign file was changed to %q", text)
	}
	must(t, os.Remove(path))
	w, anew, err := OpenWork(path, "d", time.Now())
	must(t, err)
	if anew || w.Goes() {
		t.Error("a new file is no earlier one's")
	}
	must(t, w.Writing("hash"))
	must(t, w.Close(false))
	if diff := cmp.Diff([]string{"hash"}, Written(path)); diff != "" {
		t.Error(diff)
	}
	w, anew, err = OpenWork(path, "other", time.Now())
	must(t, err)
	if !anew {
		t.Error("another question goes on")
	}
	must(t, w.Close(false))
	if diff := cmp.Diff([]string{"hash"}, Written(path)); diff != "" {
		t.Errorf("what was written before is forgotten: %s", diff)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	w, _, err = OpenWork(path, "other", time.Now())
	must(t, err)
	must(t, w.Close(true))
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
}
