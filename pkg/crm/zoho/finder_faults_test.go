package zoho_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// asks are the methods of a finder, each with what it says if it works.
func asks(w *world) map[string]func(ctx context.Context) (string, error) {
	return map[string]func(ctx context.Context) (string, error){
		"Zoho.Groups": func(ctx context.Context) (string, error) {
			got, err := w.finder.Memberships(ctx, anna)
			return fmt.Sprint(got), err
		},
		"Zoho.Modules": func(ctx context.Context) (string, error) {
			got, err := w.finder.Modules(ctx)
			return fmt.Sprint(len(got)), err
		},
		"Zoho.Query": func(ctx context.Context) (string, error) {
			got, err := w.records(ctx, "Leads", "")
			return fmt.Sprint(got), err
		},
		"Zoho.Query count": func(ctx context.Context) (string, error) {
			got, err := w.finder.Count(ctx, "Leads")
			return fmt.Sprint(got), err
		},
		"Zoho.Query owned": func(ctx context.Context) (string, error) {
			got, err := w.finder.Owned(ctx, "Leads")
			return fmt.Sprint(got), err
		},
		"Zoho.Share.Get": func(ctx context.Context) (string, error) {
			return lookError(w.look(ctx, id(0)))
		},
		"Zoho.Composite": func(ctx context.Context) (string, error) {
			return lookError(w.look(ctx, id(0), id(1)))
		},
		"Zoho.Users": func(ctx context.Context) (string, error) {
			n := 0
			for _, err := range w.finder.Users(ctx, crm.Current) {
				if err != nil {
					return "", &crm.Unseen{Message: err.Error()} // whose errors are a provider's
				}
				n++
			}
			return fmt.Sprint(n), nil
		},
	}
}

// lookError is the first thing that went wrong with looks.
func lookError(looks []crm.Look) (string, error) {
	for _, l := range looks {
		switch {
		case l.Ended != nil:
			return "", l.Ended
		case l.Refused != nil:
			return "", l.Refused
		case l.Gone || !l.State.Looked:
			return "", errors.New("not looked at, and no word why")
		}
	}
	return fmt.Sprint(looks), nil
}

func seedAsks(w *world) {
	w.SeedZohoRecords("Leads", id(0), 3, anna)
	w.SeedZoho("Leads", id(0), grant(crm.KindUser, anna, crm.Read))
	w.SeedZoho("Leads", id(1), grant(crm.KindUser, bert, crm.Read))
	w.AddZohoGroup(sandbox.ZohoGroup{ID: sales, Name: "Sales", Users: []string{anna}})
}

// TestFinderUnderFaults: what passes is waited for or repeated, and what does not is told;
// no fault makes anything be seen that is not so, or be missed in silence.
func TestFinderUnderFaults(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		fault  sandbox.Fault
		passes bool // with Times 1, the method works
	}{
		"throttled":      {sandbox.Fault{Kind: sandbox.FaultThrottle}, true},
		"5xx":            {sandbox.Fault{Kind: sandbox.FaultEmpty500}, true},
		"internal error": {sandbox.Fault{Kind: sandbox.FaultException}, true},
		"lost":           {sandbox.Fault{Kind: sandbox.FaultResetAfter}, true},
		"never came":     {sandbox.Fault{Kind: sandbox.FaultResetBefore}, true},
		"cut":            {sandbox.Fault{Kind: sandbox.FaultTruncate}, true},
		"old token":      {sandbox.Fault{Kind: sandbox.FaultException, Status: 401, Type: "INVALID_TOKEN"}, true},
		"a page":         {sandbox.Fault{Kind: sandbox.FaultHTML}, false},
		"an object":      {sandbox.Fault{Kind: sandbox.FaultEmptyObject}, false},
		"huge":           {sandbox.Fault{Kind: sandbox.FaultHuge, Bytes: 40 << 20}, false},
		"a list":         {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `[]`}, false},
		"nulls":          {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":null,"share":null,"modules":null,"user_groups":null,"users":null,"info":null}`}, false},
		"texts":          {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":"x","share":"x","modules":"x","user_groups":"x","users":"x"}`}, false},
		"odd entries":    {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":[{}],"share":[{}],"modules":[{"api_supported":true}],"user_groups":[{}],"users":5}`}, false},
		"fewer than said": {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":[{"id":"1","count(id)":1,"Owner":{"id":"1"}}],"modules":[{"api_name":"Leads","api_supported":true}],
			"user_groups":[{"id":"1"}],"users":[{"id":"1"}],"share":[{"shared_with":{"id":"1","type":"users"},"permission":"read_only"}],"info":{"count":2,"more_records":false}}`}, false},
		"empty, and more": {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":[],"modules":[],"user_groups":[],"users":[],"share":[],"info":{"count":0,"more_records":true}}`}, false},
		"a number twice":  {sandbox.Fault{Kind: sandbox.FaultVerbatim, Body: `{"data":[{"id":"1","id":"2","count(id)":1,"count(id)":2,"Owner":{"id":"1","id":"2"}}],"share":[],"share":[],"modules":[],"modules":[],"user_groups":[],"user_groups":[],"users":[],"users":[]}`}, false},
		"refused":         {sandbox.Fault{Kind: sandbox.FaultException, Status: 403, Type: "NO_PERMISSION", Text: "permission denied"}, false},
	}
	for name, c := range cases {
		for op := range asks(nil) {
			t.Run(name+"/"+op, func(t *testing.T) {
				t.Parallel()
				c := c
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, sandbox.Config{}, zoho.Config{Composite: op == "Zoho.Composite"})
					seedAsks(w)
					ask := asks(w)[op]
					want, err := ask(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					c.fault.Op, _, _ = strings.Cut(op, " ")
					c.fault.Times = 1
					w.Fault(c.fault)
					got, err := ask(t.Context())
					if (c.passes || op == "Zoho.Composite") && (err != nil || got != want) {
						t.Errorf("once: got %s, %v, want %s", got, err, want)
					}
					w.ClearFaults()
					c.fault.Times = 0
					w.Fault(c.fault)
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					if op == "Zoho.Composite" { // each record by itself then
						if name == "throttled" || name == "old token" {
							return // which concern everything, and end the account
						}
						if got, err = ask(ctx); err != nil || got != want {
							t.Errorf("always: got %s, %v, want %s", got, err, want)
						}
						return
					}
					got, err = ask(ctx)
					_, hidden := errors.AsType[*crm.Unseen](err)
					_, ended := errors.AsType[*crm.AccountError](err)
					if !hidden && !ended {
						t.Errorf("always: got %s, %v, want an error of a finder", got, err)
					}
				})
			})
		}
	}
}

// TestFinderOfLyingPages: a list that lies about itself is an error, and what came before it
// is not all.
func TestFinderOfLyingPages(t *testing.T) {
	t.Parallel()
	row := func(ids ...string) string { return `{"id":"` + strings.Join(ids, `"},{"id":"`) + `"}` }
	for name, body := range map[string]string{
		"out of order":      `{"data":[` + row("5", "4") + `],"info":{"count":2,"more_records":false}}`,
		"as texts in order": `{"data":[` + row("10", "9") + `],"info":{"count":2,"more_records":false}}`,
		"repeated":          `{"data":[` + row("5", "5") + `],"info":{"count":2,"more_records":false}}`,
		"before the last":   `{"data":[` + row("3") + `],"info":{"count":1,"more_records":false}}`,
		"the last again":    `{"data":[` + row("4") + `],"info":{"count":1,"more_records":false}}`,
		"two spellings":     `{"data":[` + row("5", "06") + `],"info":{"count":2,"more_records":false}}`,
		"no number":         `{"data":[` + row("x") + `],"info":{"count":1,"more_records":false}}`,
		"a long number":     `{"data":[` + row("123456789012345678901") + `],"info":{"count":1,"more_records":false}}`,
		"more than it says": `{"data":[` + row("5", "6") + `],"info":{"count":1,"more_records":false}}`,
		"no count":          `{"data":[],"info":{"more_records":false}}`,
		"too many":          `{"data":[` + row(manyIDs(2001)...) + `],"info":{"count":2001,"more_records":false}}`,
		"a status":          `{"data":[` + row("5") + `],"info":{"count":1,"more_records":false},"status":"error","code":"INVALID_QUERY","message":"no"}`,
	} {
		w := newWorld(t, sandbox.Config{}, zoho.Config{})
		w.Fault(sandbox.Fault{Op: "Zoho.Query", Kind: sandbox.FaultVerbatim, Body: body})
		_, err := w.records(t.Context(), "Leads", "4")
		if _, ok := errors.AsType[*crm.Unseen](err); !ok {
			t.Errorf("%s: got %v, want it to be told", name, err)
		}
	}
	// A page without a word about more is followed until one is empty.
	w := newWorld(t, sandbox.Config{}, zoho.Config{})
	w.Fault(sandbox.Fault{Op: "Zoho.Query", Kind: sandbox.FaultVerbatim, Body: `{"data":[` + row("5", "6") + `]}`, Times: 1})
	w.SeedZohoRecords("Leads", "7", 1)
	if ids, err := w.records(t.Context(), "Leads", "4"); err != nil || !cmp.Equal(ids, []string{"5", "6", "7"}) {
		t.Errorf("without a word: got %v, %v", ids, err)
	}
	for name, body := range map[string]string{
		"two rows":   `{"data":[{"count(id)":1},{"count(id)":2}],"info":{"count":2,"more_records":false}}`,
		"negative":   `{"data":[{"count(id)":-1}],"info":{"count":1,"more_records":false}}`,
		"a fraction": `{"data":[{"count(id)":1.5}],"info":{"count":1,"more_records":false}}`,
		"no column":  `{"data":[{"total":1}],"info":{"count":1,"more_records":false}}`,
		"no owner":   `{"data":[{"count(id)":1,"Owner":null}],"info":{"count":1,"more_records":true}}`,
	} {
		w := newWorld(t, sandbox.Config{}, zoho.Config{})
		w.Fault(sandbox.Fault{Op: "Zoho.Query", Kind: sandbox.FaultVerbatim, Body: body})
		if n, err := w.finder.Count(t.Context(), "Leads"); err == nil {
			t.Errorf("%s: got a count of %d", name, n)
		}
		if owned, err := w.finder.Owned(t.Context(), "Leads"); err == nil {
			t.Errorf("%s: got %v owned", name, owned)
		}
	}
}

func manyIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint(5+i))
	}
	return ids
}

func TestFinderOfCreditsUsedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Zoho: sandbox.ZohoConfig{Credits: 3}}, zoho.Config{})
		seedAsks(w)
		if _, err := w.records(t.Context(), "Leads", ""); err != nil {
			t.Fatal(err)
		}
		for op, ask := range asks(w) {
			_, err := ask(t.Context())
			if end, ok := errors.AsType[*crm.AccountError](err); op != "Zoho.Users" && (!ok || end.Code != crm.EndQuota) {
				t.Errorf("%s: got %v, want the account's end", op, err)
			}
		}
	})
}

func TestFinderOfDeadKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{}, zoho.Config{Composite: true})
	seedAsks(w)
	w.AddZohoUser(sandbox.ZohoUser{User: crm.User{ID: "5000000000000000001", Email: "admin@sandbox.example"}, Profile: "Administrator"})
	for op, ask := range asks(w) {
		_, err := ask(t.Context())
		if end, ok := errors.AsType[*crm.AccountError](err); op != "Zoho.Users" && (!ok || end.Code != crm.EndKeys) {
			t.Errorf("%s: got %v, want the account's end", op, err)
		}
	}
	if _, err := w.finder.Identify(t.Context()); err == nil {
		t.Error("identity: got none, and no error")
	}
}

func TestFinderStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{}, zoho.Config{})
	seedAsks(w)
	why := errors.New("the operator has had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for op, ask := range asks(w) {
		if _, err := ask(ctx); err == nil || !strings.Contains(err.Error(), why.Error()) {
			t.Errorf("%s: got %v, want %v", op, err, why)
		}
	}
	if n := len(w.Arrivals()); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}

func TestFinderRefusesOddNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{}, zoho.Config{})
	for name, ask := range map[string]func() error{
		"module of a count": func() error { _, err := w.finder.Count(t.Context(), "Leads where id > 1"); return err },
		"module of owners":  func() error { _, err := w.finder.Owned(t.Context(), ""); return err },
		"module of a list":  func() error { _, err := w.records(t.Context(), "Leads;x", ""); return err },
		"module of a look": func() error {
			return w.finder.Look(t.Context(), []crm.RecordID{{Object: "../x", Record: "1"}})[0].Refused
		},
		"id of a look": func() error { return w.look(t.Context(), "1/../2")[0].Refused },
		"id of a list": func() error { _, err := w.records(t.Context(), "Leads", "1 or 1"); return err },
		"id of a user": func() error { _, err := w.finder.Memberships(t.Context(), "1/2"); return err },
		"activities": func() error {
			return w.finder.Look(t.Context(), []crm.RecordID{{Object: "Tasks", Record: "1"}})[0].Refused
		},
	} {
		if hidden, ok := errors.AsType[*crm.Unseen](ask()); !ok || hidden == nil || hidden.Code != crm.CodeInvalid {
			t.Errorf("%s: got %v", name, hidden)
		}
	}
	if n := len(w.Arrivals()); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}
