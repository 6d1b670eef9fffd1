package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestConfigurationHasEveryKey(t *testing.T) {
	t.Parallel()
	got, err := parseConfig([]byte(`
default: main
protect: [boss@example.com, 5a0d0b0c-0000-4000-8000-000000000009]
accounts:
  main:
    crm: leadsquared
    limit: 25/5s
    share: 0.8
    workers: 4
    daily_calls: 10000
    ca_file: /etc/ca.pem
    host: api-in21.leadsquared.com
    access_key: env:A
    secret_key: file:/run/secrets/s
    auth: query
    max_entries_per_call: 2
    max_users_per_call: 10
    callback_url: https://hooks.example/x
    revoke_access: write
    success_codes: [6, 7]
    failure_codes: [9]
    remove_users_path: /v2/UserGroup.svc/RemoveUsers
  sales-eu:
    crm: zoho
    dc: eu
    version: v8
    client_id: env:ZOHO_CLIENT_ID
    client_secret: env:S
    refresh_token: env:R
    max_in_flight: 5
    notify: legacy
    composite: true
    verify_after: 1500ms
  own-zoho:
    crm: zoho
    api_url: http://127.0.0.1:1
    accounts_url: http://127.0.0.1:1
    client_id: id
    client_secret: env:S
    refresh_token: env:R
`), knownCRMs())
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Default: "main", Flags: map[string]yaml.Node{}, Protect: []string{"boss@example.com", "5a0d0b0c-0000-4000-8000-000000000009"},
		Accounts: map[string]accountConfig{
			"main": {
				CRM: "leadsquared", Limit: "25/5s", Share: 0.8, Workers: 4, DailyCalls: 10000, CAFile: "/etc/ca.pem", Keys: &leadSquaredKeys{
					Host: "api-in21.leadsquared.com", AccessKey: "env:A", SecretKey: "file:/run/secrets/s", Auth: "query", MaxEntriesPerCall: 2, MaxUsersPerCall: 10,
					CallbackURL: "https://hooks.example/x", RevokeAccess: "write", SuccessCodes: []int{6, 7}, FailureCodes: []int{9},
					RemoveUsersPath: "/v2/UserGroup.svc/RemoveUsers",
				},
			},
			"sales-eu": {CRM: "zoho", Keys: &zohoKeys{DC: "eu", Version: "v8", ClientID: "env:ZOHO_CLIENT_ID", ClientSecret: "env:S", RefreshToken: "env:R", MaxInFlight: 5,
				Notify: "legacy", Composite: true, VerifyAfter: duration(1500 * time.Millisecond)}},
			"own-zoho": {CRM: "zoho", Keys: &zohoKeys{APIURL: "http://127.0.0.1:1", AccountsURL: "http://127.0.0.1:1", ClientID: "id", ClientSecret: "env:S", RefreshToken: "env:R"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	const good = "accounts:\n  main:\n    crm: leadsquared\n    host: h.example\n    access_key: env:A\n    secret_key: env:S\n"
	const zoho = "accounts:\n  z:\n    crm: zoho\n    client_id: i\n    client_secret: env:S\n    refresh_token: env:R\n"
	for _, tc := range []struct{ name, yaml, want string }{
		{"unknown key of an account", good + "    hots: x\n", `line 7: hots is not a key of an account; did you mean host?`},
		{"key twice", good + "    host: y\n", "line 7: host: is there already, in line 4"},
		{"account twice", good + "  main:\n    crm: zoho\n", `line 7: mapping key "main" already defined at line 2`},
		{"setting twice", "quiet: true\nquiet: false\n", `line 2: mapping key "quiet" already defined at line 1`},
		{"no YAML", "a: [", "line 1: is not valid YAML: "},
		{"a tab", "accounts:\n\tmain:\n", "line 2: is indented with a tab; in YAML only spaces indent"},
		{"a misspelt key", good + "    acces_key: env:A\n", `account "main": line 7: acces_key is not a key of an account; did you mean access_key?`},
		{"a key like no other", good + "    colour: red\n", `line 7: colour is not a key of an account`},
		{"account for accounts", "account:\n  main:\n    crm: zoho\n", "line 1: account: names the one account of rows that name none; a list of accounts stands under the key accounts"},
		{"an account that is one word", "accounts:\n  main: leadsquared\n", "line 2: accounts: holds a name for each account, and below each name its keys"},
		{"a list of accounts", "accounts: [main]\n", "line 1: accounts: holds a name for each account"},
		{"a list", "- accounts\n", "line 1: the file holds keys with values"},
		{"a word for a number", good + "    workers: five\n", `account "main": line 7: workers: "five" is not a whole number`},
		{"a word for a part", good + "    share: half\n", `line 7: share: "half" is not a number`},
		{"no workers", good + "    workers: 0\n", `line 7: workers: "0" must be more than 0; leave the key out for its default`},
		{"workers below none", good + "    workers: -1\n", `line 7: workers: "-1" can not be negative`},
		{"too large a share", good + "    share: 1.5\n", `share: 1.5 must be more than 0 and at most 1`},
		{"a default that is none", "default: mian\n" + good, `default: there is no account "mian"; did you mean main?; the accounts are main`},
		{"no share", good + "    share: 0\n", `line 7: share: "0" must be more than 0 and at most 1`},
		{"a word for a list", good + "    success_codes: 6\n", `line 7: success_codes: "6" is not a list`},
		{"a word in a list of numbers", good + "    success_codes: [six]\n", `line 7: success_codes: "six" is not a whole number`},
		{"a list for a word", good + "    auth: [header]\n", "line 7: auth: must be a single value"},
		{"one protected user", "protect: jo@example.com\n", `line 1: protect: "jo@example.com" is not a list; write [one, another]`},
		{"a word for a choice", strings.Replace(zoho, "client_id: i", "client_id: i\n    composite: ja", 1), `composite: "ja" is neither true nor false`},
		{"two documents", good + "---\n" + good, "second document"},
		{"default that is none", good + "default: other\n", `no account "other"`},
		{"a protected id with a zero before it", good + "protect: ['0100']\n", `protect: "0100" begins with a zero`},
		{"a protected name", good + "protect: [boss@example.com, John]\n", `protect: "John" is neither`},
		{"no crm", "accounts:\n  main:\n    host: h\n", "crm: is missing"},
		{"unknown crm", "accounts:\n  main:\n    crm: salesforce\n", `"salesforce" is not one of`},
		{"no host", strings.Replace(good, "    host: h.example\n", "", 1), "host: is missing"},
		{"no access key", strings.Replace(good, "    access_key: env:A\n", "", 1), "access_key: is missing"},
		{"no secret key", strings.Replace(good, "    secret_key: env:S\n", "", 1), "secret_key: is missing"},
		{"key of the other CRM", good + "    dc: eu\n", "line 7: dc: does not belong to a leadsquared account"},
		{"auth", good + "    auth: basic\n", `"basic" is not one of`},
		{"revoke access", good + "    revoke_access: full\n", `"full" is not one of`},
		{"limit", good + "    limit: 25\n", "such as 25/5s"},
		{"share", good + "    share: 1.2\n", "at most 1"},
		{"negative count", good + "    workers: -1\n", "can not be negative"},
		{"name", "accounts:\n  'a/b':\n    crm: zoho\n", "the name may hold"},
		{"Zoho without a place", zoho, "dc: is missing"},
		{"Zoho with two places", zoho + "    dc: eu\n    api_url: https://x\n    accounts_url: https://y\n", "give one or the others"},
		{"Zoho with half a place", zoho + "    api_url: https://x\n", "dc: is missing"},
		{"Zoho with a LeadSquared key", zoho + "    dc: eu\n    host: h\n", "host: does not belong to a zoho account"},
		{"Zoho's notify", zoho + "    dc: eu\n    notify: all\n", `"all" is not one of`},
		{"Zoho's verify_after", zoho + "    dc: eu\n    verify_after: soon\n", "not a time span"},
		{"columns that are a list", "columns: [Lead No]\n", "line 1: columns: takes a line for each column, such as `Lead No: record_id`"},
		{"a column that stands for nothing", "columns:\n  Lead No:\n", "line 2: columns: Lead No: names one column of ours"},
		{"a column that stands for two", "columns:\n  Lead No: [user, record_id]\n", "line 2: columns: Lead No: names one column of ours"},
		{"a column of ours with another meaning", "columns:\n  Record ID: user\n", `line 2: columns: Record ID is a column of ours, and means the same in all sheets; for a sheet in which it means something else give --map "Record ID=user"`},
		{"a column the wrong way round", "columns:\n  EntityId: Lead No\n", `the name in the sheet comes first: Lead No=EntityId`},
		{"no column of ours", "columns:\n  A: user\n  Lead No: number\n", `line 3: columns: the column "Lead No" is to stand for "number", which is no column of ours`},
		{"a column by two spellings", "columns:\n  Lead No: user\n  lead_no: record_id\n", `line 3: columns: the column "lead_no" is mapped twice, to user and to record_id`},
		{"Zoho without a token", "accounts:\n  z:\n    crm: zoho\n    dc: eu\n    client_id: i\n    client_secret: env:S\n", "refresh_token: is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseConfig([]byte(tc.yaml), knownCRMs())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestAccountsFromTheEnvironment(t *testing.T) {
	t.Parallel()
	got := knownCRMs().fromEnvironment(environment(map[string]string{
		"LEADSQUARED_HOST": " api.example ", "ZOHO_API_URL": "http://127.0.0.1:1", "ZOHO_ACCOUNTS_URL": "http://127.0.0.1:2",
	}))
	want := map[string]accountConfig{
		"leadsquared": {CRM: "leadsquared", Keys: &leadSquaredKeys{Host: "api.example", AccessKey: "env:LEADSQUARED_ACCESS_KEY", SecretKey: "env:LEADSQUARED_SECRET_KEY"}},
		"zoho": {CRM: "zoho", Keys: &zohoKeys{
			APIURL: "http://127.0.0.1:1", AccountsURL: "http://127.0.0.1:2", ClientID: "env:ZOHO_CLIENT_ID",
			ClientSecret: "env:ZOHO_CLIENT_SECRET", RefreshToken: "env:ZOHO_REFRESH_TOKEN",
		}},
	}
	if diff := cmp.Diff(want, got.Accounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	if got := knownCRMs().fromEnvironment(environment(nil)); len(got.Accounts) != 0 {
		t.Errorf("accounts from an empty environment: %v", got.Accounts)
	}
}
