package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// lsqConfig is a LeadSquared account for tests.
func lsqConfig(host, key string) accountConfig {
	return accountConfig{CRM: crmLeadSquared, Host: host, AccessKey: "env:" + key, SecretKey: "env:SECRET"}
}

// testSecrets finds the secrets that test accounts name.
func testSecrets() secretSource {
	return secretSource{
		lookup: environment(map[string]string{"KEY": "key-number-1", "OTHER": "key-number-2", "SECRET": "secret-value"}),
		warn:   func(string) {},
	}
}

func TestSpeedOfAnAccount(t *testing.T) {
	t.Parallel()
	flags := func(set func(o *options)) *options {
		o := newOptions()
		set(o)
		return o
	}
	none := func(*options) {}
	for _, tc := range []struct {
		name           string
		conf           accountConfig
		opts           *options
		limit          limit
		slots, workers int
	}{
		{"defaults of LeadSquared", accountConfig{CRM: crmLeadSquared}, flags(none), limit{25, 5 * time.Second}, 20, 20},
		{"defaults of Zoho", accountConfig{CRM: crmZoho}, flags(none), limit{10, time.Second}, 8, 5},
		{"Zoho with more in flight", accountConfig{CRM: crmZoho, MaxInFlight: 20}, flags(none), limit{10, time.Second}, 8, 8},
		{"configuration", accountConfig{CRM: crmLeadSquared, Limit: "10/2s", Share: 0.5, Workers: 3}, flags(none), limit{10, 2 * time.Second}, 5, 3},
		{"flags", accountConfig{CRM: crmLeadSquared, Limit: "10/2s", Share: 0.5, Workers: 3}, flags(func(o *options) {
			o.limit.limit, o.share, o.workers = limit{4, time.Second}, 1, 2
		}), limit{4, time.Second}, 4, 2},
		{"at least one", accountConfig{CRM: crmLeadSquared, Limit: "1/1s", Share: 0.1}, flags(none), limit{1, time.Second}, 1, 1},
		{"not too many workers", accountConfig{CRM: crmLeadSquared, Limit: "1000/1s"}, flags(none), limit{1000, time.Second}, 800, 64},
		{"a share that has no exact float", accountConfig{CRM: crmLeadSquared, Limit: "10/1s", Share: 0.7}, flags(none), limit{10, time.Second}, 7, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a, err := newAccount("a", tc.conf, tc.opts)
			must(t, err)
			if a.limit != tc.limit || a.slots() != tc.slots || a.workers != tc.workers {
				t.Errorf("limit %v, %d slots, %d workers; want %v, %d, %d", a.limit, a.slots(), a.workers, tc.limit, tc.slots, tc.workers)
			}
		})
	}
}

func TestAccountThatCanNotBeUsedRefusesItsRows(t *testing.T) {
	t.Parallel()
	cfg := config{Default: "good", Accounts: map[string]accountConfig{
		"good": lsqConfig("one.example", "KEY"), "poor": lsqConfig("two.example", "MISSING"),
	}}
	accounts, err := newAccounts(cfg, newOptions(), testSecrets())
	must(t, err)
	_, err = accounts[1].provider.Check(crm.Operation{Action: crm.Revoke, Object: crm.Lead})
	field, ok := errors.AsType[*crm.FieldError](err)
	if !ok || field.Column != "account" || !strings.Contains(field.Reason, "MISSING is not set") {
		t.Errorf("error is %v, want one about the account's secret", err)
	}
	cfg.Default = "poor"
	if _, err := newAccounts(cfg, newOptions(), testSecrets()); err == nil || !strings.Contains(err.Error(), "MISSING is not set") {
		t.Errorf("error is %v, want a refusal of the default account", err)
	}
}

// Rows of all names for the same keys go to one account, and stay with it.
func TestJoinNames(t *testing.T) {
	t.Parallel()
	cfg := config{Accounts: map[string]accountConfig{
		"a": lsqConfig("one.example", "KEY"), "b": lsqConfig("https://ONE.example/v2/", "KEY"), "c": lsqConfig("one.example", "KEY"),
		"other": lsqConfig("one.example", "OTHER"), "poor": lsqConfig("one.example", "MISSING"),
	}}
	for _, tt := range []struct {
		bound     []ledger.Binding
		byDefault string
		want      string
	}{
		{nil, "", "a"},
		{nil, "b", "b"},
		{nil, "other", "a"},
		{[]ledger.Binding{{Account: "c", Host: "one.example"}}, "b", "c"},
		{[]ledger.Binding{{Account: "b", Host: "one.example"}, {Account: "c", Host: "one.example"}}, "c", "b"},
		{[]ledger.Binding{{Account: "c", Host: "elsewhere.example"}}, "", "a"},
	} {
		accounts, err := newAccounts(cfg, newOptions(), testSecrets())
		must(t, err)
		joinNames(accounts, tt.bound, tt.byDefault)
		for _, a := range accounts {
			home := a.name
			if a.same != nil {
				home = a.same.name
			}
			bound := slices.ContainsFunc(tt.bound, func(b ledger.Binding) bool { return b.Account == a.name && b.Host == a.host })
			if want := map[bool]string{true: tt.want, false: a.name}[len(a.name) == 1 && !bound]; home != want {
				t.Errorf("%v, default %q: rows of %s go to %s, want %s", tt.bound, tt.byDefault, a.name, home, want)
			}
		}
	}
}

func TestDefaultAccount(t *testing.T) {
	t.Parallel()
	two := map[string]accountConfig{"a": {}, "b": {}}
	for _, tc := range []struct {
		cfg        config
		flag, want string
		refused    bool
	}{
		{config{Accounts: map[string]accountConfig{"only": {}}}, "", "only", false},
		{config{Accounts: two}, "", "", false},
		{config{Accounts: two, Default: "b"}, "", "b", false},
		{config{Accounts: two, Default: "b"}, "a", "a", false},
		{config{Accounts: two}, "c", "", true},
		{config{Accounts: two, Default: "B"}, "", "b", false},
		{config{Accounts: two}, "A", "a", false},
		{config{Accounts: map[string]accountConfig{"main": {}, "Main": {}}}, "MAIN", "", true},
	} {
		got, err := defaultAccount(tc.cfg, tc.flag)
		if got != tc.want || (err != nil) != tc.refused {
			t.Errorf("default of %v with --account %q is %q, %v; want %q", tc.cfg, tc.flag, got, err, tc.want)
		}
	}
}

// TestTwoNamesOfOneOrganisationShareGateAndLock: the limit is the organisation's.
func TestTwoNamesOfOneOrganisationShareGateAndLock(t *testing.T) {
	t.Parallel()
	slow := lsqConfig("https://ONE.example/v2/", "KEY")
	slow.Limit = "5/5s"
	cfg := config{Accounts: map[string]accountConfig{
		"first": lsqConfig("one.example", "KEY"), "second": slow, "third": lsqConfig("one.example", "OTHER"), "unused": lsqConfig("two.example", "KEY"),
	}}
	accounts, err := newAccounts(cfg, newOptions(), testSecrets())
	must(t, err)
	for _, a := range accounts {
		a.used = a.name != "unused"
	}
	o := connectOptions{state: filepath.Join(t.TempDir(), "state"), log: slog.New(slog.DiscardHandler), holder: me("off.csv")}
	conns, err := connectAccounts(t.Context(), accounts, o)
	must(t, err)
	if len(conns.gates) != 2 || len(conns.locks) != 2 {
		t.Errorf("%d gates and %d locks, want 2 and 2", len(conns.gates), len(conns.locks))
	}
	for i, want := range []int{4, 4, 20} {
		meter, ok := accounts[i].provider.(crm.Meter)
		if !ok || meter.Usage().Limit != want {
			t.Errorf("account %s may make %d calls in its window, want %d", accounts[i].name, meter.Usage().Limit, want)
		}
	}
	second, err := connectAccounts(t.Context(), accounts[:1], o)
	if _, held := errors.AsType[*heldError](err); !held {
		t.Errorf("error is %v, want that the account is held", err)
	}
	must(t, second.close())
	must(t, conns.close())
	third, err := connectAccounts(t.Context(), accounts[:1], o)
	must(t, err)
	must(t, third.close())
}
