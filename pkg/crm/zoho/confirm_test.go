package zoho

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestConfirm(t *testing.T) {
	t.Parallel()
	all := crm.Operation{Action: crm.RevokeAll, Object: "Quotes", Record: record}
	related := give("6", crm.Write)
	related.Related = crm.Yes
	plain := give("6", crm.Write)
	plain.Related = crm.No
	tests := []struct {
		name    string
		list    []share
		steps   []step
		op      crm.Operation
		want    string
		message string
	}{
		{"revoked", []share{user("6", "read_write")}, nil, revoke("5"), "done x0", ""},
		{"revoked, list empty", nil, nil, revoke("5"), "done x0", ""},
		{"not yet", []share{user("5", "read_write")}, nil, revoke("5"), "accepted not_yet x0", ""},
		{"there by a parent", []share{inherited(user("5", "read_only"))}, nil, revoke("5"), "failed inherited x0", "Contacts/649013"},
		{"a group is there", []share{group("9")}, nil, revoke("5"), "done x0", "group 9"},
		{"public", []share{everybody()}, nil, revoke("5"), "failed public x0", ""},
		{"shared", []share{user("6", "read_write")}, nil, give("6", crm.Write), "done x0", ""},
		{"shared otherwise", []share{user("6", "read_only")}, nil, give("6", crm.Write), "accepted not_yet x0", ""},
		{"related missing", []share{user("6", "read_write")}, nil, related, "accepted not_yet x0", ""},
		{"related not asked for", []share{user("6", "read_write")}, nil, plain, "done x0", ""},
		{"shared by a parent only", []share{inherited(user("6", "read_write"))}, nil, give("6", crm.Write), "accepted not_yet x0", ""},
		{"all gone", nil, nil, all, "done x0", ""},
		{"not all gone", []share{group("9")}, nil, all, "accepted not_yet x0", ""},
		{"all but inherited", []share{inherited(user("6", "read_write"))}, nil, all, "failed inherited x0", "Contacts/649013"},
		{"busy", nil, []step{refuses("GET", 400, schedulerBody)}, revoke("5"), "accepted CANNOT_PROCESS x0", "Scheduler"},
		{"refused", nil, []step{refuses("GET", 400, envelope("INVALID_DATA", "ENTITY_ID_INVALID"))}, revoke("5"), "accepted INVALID_DATA x0", "ENTITY"},
		{"internal error, then well", nil, []step{refuses("GET", 500, envelope("INTERNAL_ERROR", "x")), refuses("GET", 500, envelope("INTERNAL_ERROR", "x"))}, revoke("5"), "done x0", ""},
		{"throttled, then well", nil, []step{refuses("GET", 429, throttleBody)}, revoke("5"), "done x0", ""},
		{"wrong host", nil, []step{refuses("GET", 404, "<html>")}, revoke("5"), "accepted host ended:host x0", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes], f.steps = tt.list, tt.steps
				p := provider(t, f, Config{}, nil)
				out := confirm(t.Context(), p, crm.Item{Op: tt.op, Ticket: quotes, Prior: crm.PriorAccepted})
				if got := brief(out[0]); got != tt.want || !strings.Contains(out[0].Message, tt.message) {
					t.Errorf("got %s %q, want %s %q", got, out[0].Message, tt.want, tt.message)
				}
				if (out[0].Status == crm.Accepted) != (out[0].Ticket == quotes) {
					t.Errorf("ticket %q of a row that is %s", out[0].Ticket, out[0].Status)
				}
			})
		})
	}
}

func TestConfirmLooksOnceForARecord(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.lists[quotes] = []share{user("6", "read_only")}
	p := provider(t, f, Config{}, nil)
	out := confirm(t.Context(), p, crm.Item{Op: revoke("5")}, crm.Item{Op: revoke("6")}, crm.Item{Op: give("6", crm.Read)})
	if diff := cmp.Diff([]string{"done x0", "accepted not_yet x0", "done x0"}, briefs(out)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if got := f.methods(); got != "GET" {
		t.Errorf("requests %s, want one look", got)
	}
}

// composite makes the fake answer a composite request by its own looks, in order.
func composite(f *fake, edit func(parts []any)) step {
	return step{http.MethodPost, func(f *fake, _ func() answer) answer {
		_, body, _ := strings.Cut(f.log[len(f.log)-1], " {")
		var in struct {
			Subs []subRequest `json:"__composite_requests"`
		}
		if err := json.Unmarshal([]byte("{"+body), &in); err != nil {
			f.t.Error(err)
		}
		var parts []any
		for _, sub := range in.Subs {
			r, _ := http.NewRequest(sub.Method, "https://www.zohoapis.eu"+sub.URI, nil)
			a := f.own(r, nil)
			response := map[string]any{"status_code": a.status}
			if a.body != "" {
				response["body"] = json.RawMessage(a.body)
			}
			parts = append(parts, map[string]any{"code": "SUCCESS", "status": "success", "details": map[string]any{"response": response}})
		}
		if edit != nil {
			edit(parts)
		}
		raw, _ := json.Marshal(map[string]any{"__composite_requests": parts})
		return says(200, string(raw))
	}}
}

func TestConfirmComposite(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		records int
		empty   int // how many of them nobody has
		steps   func(f *fake) []step
		methods string
	}{
		{"five in one", 5, 0, func(f *fake) []step { return []step{composite(f, nil)} }, "POST"},
		{"seven in two", 7, 0, func(f *fake) []step { return []step{composite(f, nil), composite(f, nil)} }, "POST POST"},
		{"one by itself", 1, 0, func(f *fake) []step { return nil }, "GET"},
		{"not allowed", 2, 0, func(f *fake) []step { return []step{refuses("POST", 400, envelope("NOT_SUPPORTED", "x"))} }, "POST GET GET"},
		{"all empty", 3, 3, func(f *fake) []step { return []step{composite(f, nil)} }, "POST"},
		{"some empty", 3, 1, func(f *fake) []step { return []step{composite(f, nil)} }, "POST GET"},
		{"in another order", 3, 0, func(f *fake) []step {
			return []step{composite(f, func(parts []any) { parts[0], parts[1] = parts[1], parts[0] })}
		}, "POST GET GET GET"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.steps = tt.steps(f)
				p := provider(t, f, Config{Composite: true}, nil)
				out := make([]crm.Outcome, tt.records)
				ops := make([]crm.Operation, tt.records)
				for n := range ops {
					ops[n] = revoke("5")
					ops[n].Record = fmt.Sprint(1000 + n)
					if n >= tt.empty {
						s := user("6", "read_only")
						s.Through = map[string]any{"id": ops[n].Record}
						f.lists["Quotes/"+ops[n].Record] = []share{s}
					}
				}
				var all sync.WaitGroup
				for n, op := range ops {
					all.Go(func() { out[n] = confirm(t.Context(), p, crm.Item{Op: op})[0] })
				}
				all.Wait()
				for n, o := range out {
					if o.Status != crm.Done {
						t.Errorf("record %d: %s %s, want done", n, brief(o), o.Message)
					}
				}
				if got := f.methods(); got != tt.methods {
					t.Errorf("requests %s, want %s", got, tt.methods)
				}
			})
		})
	}
}
