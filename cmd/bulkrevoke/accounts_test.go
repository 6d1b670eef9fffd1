package main

import (
	"strings"
	"testing"
	"time"
)

// lsqConfig is a LeadSquared account for tests.
func lsqConfig(host, key string) accountConfig {
	return accountConfig{CRM: crmLeadSquared, Keys: &leadSquaredKeys{Host: host, AccessKey: "env:" + key, SecretKey: "env:SECRET"}}
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
		{"defaults of LeadSquared", accountConfig{CRM: crmLeadSquared, Keys: &leadSquaredKeys{}}, flags(none), limit{25, 5 * time.Second}, 20, 20},
		{"defaults of Zoho", accountConfig{CRM: crmZoho, Keys: &zohoKeys{}}, flags(none), limit{10, time.Second}, 8, 5},
		{"Zoho with more in flight", accountConfig{CRM: crmZoho, Keys: &zohoKeys{MaxInFlight: 20}}, flags(none), limit{10, time.Second}, 8, 8},
		{"configuration", accountConfig{CRM: crmLeadSquared, Limit: "10/2s", Share: 0.5, Workers: 3, Keys: &leadSquaredKeys{}}, flags(none), limit{10, 2 * time.Second}, 5, 3},
		{"flags", accountConfig{CRM: crmLeadSquared, Limit: "10/2s", Share: 0.5, Workers: 3, Keys: &leadSquaredKeys{}}, flags(func(o *options) {
			o.limit.limit, o.share, o.workers = limit{4, time.Second}, 1, 2
		}), limit{4, time.Second}, 4, 2},
		{"at least one", accountConfig{CRM: crmLeadSquared, Limit: "1/1s", Share: 0.1, Keys: &leadSquaredKeys{}}, flags(none), limit{1, time.Second}, 1, 1},
		{"not too many workers", accountConfig{CRM: crmLeadSquared, Limit: "1000/1s", Keys: &leadSquaredKeys{}}, flags(none), limit{1000, time.Second}, 800, 64},
		{"a share that has no exact float", accountConfig{CRM: crmLeadSquared, Limit: "10/1s", Share: 0.7, Keys: &leadSquaredKeys{}}, flags(none), limit{10, time.Second}, 7, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			k, _ := knownCRMs().named(tc.conf.CRM)
			a, err := newAccount(k, "a", tc.conf, tc.opts)
			must(t, err)
			if a.limit != tc.limit || a.slots() != tc.slots || a.workers != tc.workers {
				t.Errorf("limit %v, %d slots, %d workers; want %v, %d, %d", a.limit, a.slots(), a.workers, tc.limit, tc.slots, tc.workers)
			}
		})
	}
}

func TestAccountThatCanNotBeUsed(t *testing.T) {
	t.Parallel()
	cfg := config{Default: "good", Accounts: map[string]accountConfig{
		"good": lsqConfig("one.example", "KEY"), "poor": lsqConfig("two.example", "MISSING"),
	}}
	accounts, err := newAccounts(knownCRMs(), cfg, newOptions(), testSecrets())
	must(t, err)
	if err := accounts[1].refusal(); err == nil || !strings.Contains(err.Error(), `account "poor"`) || !strings.Contains(err.Error(), "MISSING is not set") {
		t.Errorf("error is %v, want one about the account's secret", err)
	}
	if err := accounts[0].refusal(); err != nil {
		t.Errorf("a good account is refused: %v", err)
	}
	cfg.Default = "poor"
	if _, err := newAccounts(knownCRMs(), cfg, newOptions(), testSecrets()); err == nil || !strings.Contains(err.Error(), "MISSING is not set") {
		t.Errorf("error is %v, want a refusal of the default account", err)
	}
}

// Keys are those of a place: the same ones in another host are another account.
func TestTwoNamesForTheSameKeys(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		other   accountConfig
		refused bool
	}{
		{"the host written otherwise", lsqConfig("https://ONE.example/v2/", "KEY"), true},
		{"another host", lsqConfig("two.example", "KEY"), false},
		{"other keys", lsqConfig("one.example", "OTHER"), false},
		{"keys that are not there", lsqConfig("one.example", "MISSING"), false},
	} {
		_, err := newAccounts(knownCRMs(), config{Default: "a", Accounts: map[string]accountConfig{"a": lsqConfig("one.example", "KEY"), "b": tc.other}}, newOptions(), testSecrets())
		if (err != nil) != tc.refused || tc.refused && !strings.Contains(err.Error(), `accounts "a" and "b" have the same keys for one.example`) {
			t.Errorf("%s: error is %v", tc.name, err)
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
