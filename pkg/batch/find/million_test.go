package find

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// many is a CRM of one module with a million records or so, of which the leaver has every
// hundredth.
type many struct {
	*fake
	n int
}

func (m *many) Modules(context.Context) ([]crm.Module, error) {
	return []crm.Module{{Name: "Leads"}}, nil
}

func (m *many) Count(context.Context, string) (int64, error) { return int64(m.n), nil }

func (m *many) Records(_ context.Context, _, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last, _ := strconv.Atoi(after)
		for i := max(10_000_000, last+1); i < 10_000_000+m.n; i++ {
			if !yield(strconv.Itoa(i), nil) {
				return
			}
		}
	}
}

func (m *many) Look(_ context.Context, records []crm.RecordID) []crm.Look {
	time.Sleep(time.Millisecond)
	out := make([]crm.Look, len(records))
	for i, id := range records {
		out[i].State = crm.State{Looked: true, Grants: []crm.Grant{{Kind: crm.KindUser, ID: "other", Access: crm.Full}}}
		if id.Record[len(id.Record)-2:] == "00" {
			out[i].State.Grants = append(out[i].State.Grants, crm.Grant{Kind: crm.KindUser, ID: "leaver", Access: crm.Read})
		}
	}
	return out
}

// Memory does not grow with the records. BULKREVOKE_TEST_RECORDS asks for more of them.
func TestFindManyInFlatMemory(t *testing.T) {
	n := 40_000
	if s := os.Getenv("BULKREVOKE_TEST_RECORDS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		must(t, err)
	}
	m := &many{fake: newFake(0), n: n}
	m.sight.Looks = 5
	f := New(Options{
		AllModules: true, People: &People{Sheet: "p.csv", All: []Person{{Line: 2, ID: "leaver"}}},
		Accounts: []Account{{Name: "a", CRM: "fake", Host: "h", Rules: anyRules{}, Finder: m, Workers: 32}},
	})
	ctx := t.Context()
	must(t, f.Learn(ctx))
	w, _, err := OpenWork(filepath.Join(t.TempDir(), "x.work"), "d", time.Now())
	must(t, err)
	_, err = f.Plan(ctx, w)
	must(t, err)
	most, at := uint64(0), 0
	w.changed = func() {
		if at++; at%50 == 0 {
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			most = max(most, s.HeapAlloc)
		}
	}
	began := time.Now()
	must(t, f.Run(ctx))
	rows := 0
	var counts Counts
	for _, err := range f.Rows(ctx, &counts) {
		must(t, err)
		rows++
	}
	t.Logf("%d records in %s, %d lines, %d KiB of work, heap at most %d KiB", n, time.Since(began), at, w.size>>10, most>>10)
	if rows != n/100 || !f.Coverage(counts).Complete {
		t.Errorf("%d rows of %d records", rows, n)
	}
	if most > 64<<20 {
		t.Errorf("the heap had %d MiB", most>>20)
	}
	must(t, w.Close(true))
}
