package zoho

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	op := func(edit func(*crm.Operation)) crm.Operation {
		o := crm.Operation{Action: crm.Share, Object: "Quotes", Record: record, User: "5", Access: crm.Read}
		edit(&o)
		return o
	}
	tests := []struct {
		name   string
		in     crm.Operation
		want   crm.Operation
		column string // of the fault; "" for none
		reason string
	}{
		{name: "share", in: op(func(o *crm.Operation) { o.Related = crm.Yes }), want: op(func(o *crm.Operation) { o.Related = crm.Yes })},
		{name: "address", in: op(func(o *crm.Operation) { o.User = "a@b.example" }), want: op(func(o *crm.Operation) { o.User = "a@b.example" })},
		{name: "standard name", in: op(func(o *crm.Operation) { o.Object = "price books" }), want: op(func(o *crm.Operation) { o.Object = "Price_Books" })},
		{name: "standard name in capitals", in: op(func(o *crm.Operation) { o.Object = "LEADS" }), want: op(func(o *crm.Operation) { o.Object = "Leads" })},
		{name: "custom module", in: op(func(o *crm.Operation) { o.Object = "my_Module7" }), want: op(func(o *crm.Operation) { o.Object = "my_Module7" })},
		{
			name: "revoke drops what describes a share",
			in: op(func(o *crm.Operation) {
				o.Action, o.Related, o.Minutes, o.Context, o.Permissions = crm.Revoke, crm.Yes, 5, "x", 1
			}),
			want: crm.Operation{Action: crm.Revoke, Object: "Quotes", Record: record, User: "5"},
		},
		{
			name: "revoke_all",
			in:   op(func(o *crm.Operation) { o.Action, o.User = crm.RevokeAll, "" }),
			want: crm.Operation{Action: crm.RevokeAll, Object: "Quotes", Record: record},
		},
		{name: "revoke_all with a user", in: op(func(o *crm.Operation) { o.Action = crm.RevokeAll }), column: "user"},
		{name: "no action", in: op(func(o *crm.Operation) { o.Action = 0 }), column: "action"},
		{name: "no module", in: op(func(o *crm.Operation) { o.Object = "" }), column: "object"},
		{name: "activities", in: op(func(o *crm.Operation) { o.Object = "Tasks" }), column: "object", reason: "related"},
		{name: "word of another CRM", in: op(func(o *crm.Operation) { o.Object = "lead" }), column: "object", reason: "LeadSquared"},
		{name: "number of another CRM", in: op(func(o *crm.Operation) { o.Object = "1" }), column: "object"},
		{name: "path in a module", in: op(func(o *crm.Operation) { o.Object = "../users" }), column: "object"},
		{name: "escaped path", in: op(func(o *crm.Operation) { o.Object = "%2e%2e" }), column: "object"},
		{name: "long module", in: op(func(o *crm.Operation) { o.Object = strings.Repeat("a", 65) }), column: "object"},
		{name: "line break in a record", in: op(func(o *crm.Operation) { o.Record = "12\r\n3" }), column: "record_id"},
		{name: "21 digits", in: op(func(o *crm.Operation) { o.Record = strings.Repeat("1", 21) }), column: "record_id"},
		{name: "no record", in: op(func(o *crm.Operation) { o.Record = "" }), column: "record_id", reason: "empty"},
		{name: "damaged record", in: op(func(o *crm.Operation) { o.Record = "4.15087E+18" }), column: "record_id", reason: "spreadsheet"},
		{name: "damaged user", in: op(func(o *crm.Operation) { o.User = "4,15E+18" }), column: "user", reason: "spreadsheet"},
		{name: "no user", in: op(func(o *crm.Operation) { o.User = "" }), column: "user", reason: "empty"},
		{name: "marked ids", in: op(func(o *crm.Operation) { o.Record, o.User = "zcrm_"+o.Record, "ZCRM_"+o.User }), want: op(func(*crm.Operation) {})},
		{name: "record with a zero before it", in: op(func(o *crm.Operation) { o.Record = "0" + o.Record }), column: "record_id", reason: "begins with a zero"},
		{name: "user with a zero before it", in: op(func(o *crm.Operation) { o.User = "0" + o.User }), column: "user", reason: "begins with a zero"},
		{name: "marked user with a zero before it", in: op(func(o *crm.Operation) { o.User = "zcrm_0" + o.User }), column: "user", reason: "begins with a zero"},
		{name: "user with letters", in: op(func(o *crm.Operation) { o.User = "x1" }), column: "user"},
		{name: "no level", in: op(func(o *crm.Operation) { o.Access = 0 }), column: "access"},
		{name: "duration", in: op(func(o *crm.Operation) { o.Minutes = 1 }), column: "duration_minutes"},
		{name: "context", in: op(func(o *crm.Operation) { o.Context = "x" }), column: "context_id"},
		{name: "group permissions", in: op(func(o *crm.Operation) { o.Permissions = 1 }), column: "group_permissions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := (&Provider{}).Check(tt.in)
			fault, wrong := errors.AsType[*crm.FieldError](err)
			switch {
			case tt.column == "" && err != nil:
				t.Fatalf("got %v, want no fault", err)
			case tt.column == "":
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("operation (-want +got):\n%s", diff)
				}
				if again, err := (Rules{}).Check(got); err != nil || again != got {
					t.Errorf("checked again it is %+v, %v", again, err)
				}
			case !wrong || fault.Column != tt.column || !strings.Contains(fault.Reason, tt.reason):
				t.Errorf("got %v, want a fault of %s with %q", err, tt.column, tt.reason)
			}
		})
	}
}

func TestKeyIsTheRecord(t *testing.T) {
	t.Parallel()
	p := &Provider{}
	if got, want := p.Key(revoke("5")), (crm.Target{Object: "Quotes", Record: record}); got != want || p.Key(give("6", crm.Read)) != want {
		t.Errorf("key %q, want %q for everybody", got, want)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		dc, api, accounts     string
		wantAPI, wantAccounts string
		wrong                 string // part of the error
	}{
		{dc: "us", wantAPI: "www.zohoapis.com", wantAccounts: "accounts.zoho.com"},
		{dc: "EU", wantAPI: "www.zohoapis.eu", wantAccounts: "accounts.zoho.eu"},
		{dc: "in", wantAPI: "www.zohoapis.in", wantAccounts: "accounts.zoho.in"},
		{dc: "au", wantAPI: "www.zohoapis.com.au", wantAccounts: "accounts.zoho.com.au"},
		{dc: "cn", wantAPI: "www.zohoapis.com.cn", wantAccounts: "accounts.zoho.com.cn"},
		{dc: "jp", wantAPI: "www.zohoapis.jp", wantAccounts: "accounts.zoho.jp"},
		{dc: "ca", wantAPI: "www.zohoapis.ca", wantAccounts: "accounts.zohocloud.ca"},
		{dc: "sa", wantAPI: "www.zohoapis.sa", wantAccounts: "accounts.zoho.sa"},
		{dc: "uk", wantAPI: "www.zohoapis.uk", wantAccounts: "accounts.zoho.uk"},
		{dc: "eu", api: "https://sandbox.zohoapis.eu/", wantAPI: "sandbox.zohoapis.eu", wantAccounts: "accounts.zoho.eu"},
		{api: "API.example:443", accounts: "http://127.0.0.1:8080", wantAPI: "api.example", wantAccounts: "127.0.0.1:8080"},
		{dc: "mars", wrong: "us, eu"},
		{api: "api.example", wrong: "both"},
		{wrong: "both"},
		{api: "http://api.example", accounts: "a.example", wrong: "https"},
		{api: "https://u:p@api.example", accounts: "a.example", wrong: "host"},
		{api: "https://api.example/crm/v8", accounts: "a.example", wrong: "host"},
		{api: "ftp://api.example", accounts: "a.example", wrong: "https"},
		{api: "https://", accounts: "a.example", wrong: "host"},
	}
	for _, tt := range tests {
		api, accounts, err := Hosts(tt.dc, tt.api, tt.accounts)
		switch {
		case tt.wrong != "":
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("Hosts(%q, %q, %q): %v, want %q in it", tt.dc, tt.api, tt.accounts, err, tt.wrong)
			}
		case err != nil || api != tt.wantAPI || accounts != tt.wantAccounts:
			t.Errorf("Hosts(%q, %q, %q) = %q, %q, %v; want %q, %q", tt.dc, tt.api, tt.accounts, api, accounts, err, tt.wantAPI, tt.wantAccounts)
		}
	}
}

func TestAPIDomain(t *testing.T) {
	t.Parallel()
	configured, _, err := endpoints("", "https://crm.example:8443", "accounts.example")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ named, want string }{
		{"", "https://crm.example:8443"},
		{"https://crm.example:8443", "https://crm.example:8443"},
		{"https://www.zohoapis.com", "https://www.zohoapis.com"},
		{"https://sandbox.zohoapis.com.au", "https://sandbox.zohoapis.com.au"},
		{"https://developer.zohoapis.eu/", "https://developer.zohoapis.eu"},
		{"http://www.zohoapis.com", ""},
		{"https://www.zohoapis.com.evil.example", ""},
		{"https://wwwzohoapis.com", ""},
		{"https://evil.zohoapis.com", ""},
		{"https://www.zohoapis.com:444", ""},
		{"https://crm.example", ""},
		{"http://crm.example:8443", ""},
		{"https://www.zohoapis.com@evil.example", ""},
	}
	for _, tt := range tests {
		u, err := apiDomain(tt.named, configured)
		got := ""
		if err == nil {
			got = u.String()
		}
		if got != tt.want {
			t.Errorf("apiDomain(%q) = %q, %v; want %q", tt.named, got, err, tt.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Config{DC: "eu", ClientID: "id", ClientSecret: transport.NewSecret("s"), RefreshToken: transport.NewSecret("r")}
	gate, err := transport.NewGate(transport.GateConfig{Limit: 1, Window: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(good, transport.Config{Gate: gate}, nil); err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	for want, edit := range map[string]func(*Config){
		"data centre":   func(c *Config) { c.DC = "" },
		"client id":     func(c *Config) { c.ClientID = "" },
		"client secret": func(c *Config) { c.ClientSecret = transport.NewSecret("a\nb") },
		"refresh token": func(c *Config) { c.RefreshToken = transport.Secret{} },
		"version":       func(c *Config) { c.Version = "v1" },
		"notification":  func(c *Config) { c.Notify = "loud" },
		"negative":      func(c *Config) { c.VerifyAfter = -1 },
	} {
		c := good
		edit(&c)
		if _, err := New(c, transport.Config{Gate: gate}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about the %s", err, want)
		}
	}
}
