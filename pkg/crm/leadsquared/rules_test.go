package leadsquared

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	leaver    = "0203f172-8642-11e7-9bed-069b743e848f"
	colleague = "96105aa0-61f2-11ea-8109-022edb41208c"
	activity  = "f2dbf1d5-bbab-418b-bddc-4c92ecdef214"
	deal      = "f85f3b60-bec7-47c8-8fcd-ae5d9df2d0e5"
	team      = "ed3ea545-b1fa-11e9-9371-0666b2d6ef5e"
)

func leadRevoke() crm.Operation {
	return crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "869196", Context: activity, User: leaver, Access: crm.Write}
}

func dealRevoke() crm.Operation {
	return crm.Operation{Action: crm.Revoke, Object: crm.Opportunity, Record: deal, User: colleague, Access: crm.Write}
}

func with(op crm.Operation, edit func(*crm.Operation)) crm.Operation {
	edit(&op)
	return op
}

func asShare(op *crm.Operation) { op.Action = crm.Share }

func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	p := newTestProvider(t, Config{}, nil)
	groupAdd := crm.Operation{Action: crm.Share, Object: crm.SalesGroup, Record: team, User: leaver, Permissions: crm.AddUsersToGroup}
	for name, c := range map[string]struct{ in, want crm.Operation }{
		"lead by number of its entity": {with(leadRevoke(), func(o *crm.Operation) { o.Object = "1" }), leadRevoke()},
		"leads":                        {with(leadRevoke(), func(o *crm.Operation) { o.Object = "Leads" }), leadRevoke()},
		"opportunity by number":        {with(dealRevoke(), func(o *crm.Operation) { o.Object = "5" }), dealRevoke()},
		"GUIDs in upper case": {with(leadRevoke(), func(o *crm.Operation) {
			o.Context, o.User = strings.ToUpper(activity), "{"+strings.ToUpper(leaver)+"}"
		}), leadRevoke()},
		"an address is left alone": {
			with(leadRevoke(), func(o *crm.Operation) { o.User = "Bob@Example.com" }),
			with(leadRevoke(), func(o *crm.Operation) { o.User = "Bob@Example.com" }),
		},
		"a revoke without a level gets the account's": {
			with(leadRevoke(), func(o *crm.Operation) { o.Access = crm.AccessUnset }),
			with(leadRevoke(), func(o *crm.Operation) { o.Access = crm.Read }),
		},
		"a revoke drops what describes a share": {
			with(leadRevoke(), func(o *crm.Operation) { o.Minutes, o.Related, o.Permissions = 30, crm.Yes, 7 }), leadRevoke(),
		},
		"an opportunity has no context": {with(dealRevoke(), func(o *crm.Operation) { o.Context = "whatever" }), dealRevoke()},
		"19 digits": {
			with(leadRevoke(), func(o *crm.Operation) { o.Record = "1234567890123456789" }),
			with(leadRevoke(), func(o *crm.Operation) { o.Record = "1234567890123456789" }),
		},
		"a share with a duration": {
			with(leadRevoke(), func(o *crm.Operation) { o.Action, o.Minutes = crm.Share, 30 }),
			with(leadRevoke(), func(o *crm.Operation) { o.Action, o.Minutes = crm.Share, 30 }),
		},
		"a member of a group": {with(groupAdd, func(o *crm.Operation) { o.Object = "Sales Group" }), groupAdd},
		"a member taken out": {
			with(groupAdd, func(o *crm.Operation) { o.Action, o.Access, o.Minutes = crm.Revoke, crm.Full, 9 }),
			with(groupAdd, func(o *crm.Operation) { o.Action, o.Permissions = crm.Revoke, 0 }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := p.Check(c.in)
			if err != nil {
				t.Fatalf("Check: %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
			if again, err := p.Check(got); err != nil || again != got {
				t.Errorf("Check of its own result: got %+v, %v; want it as it was", again, err)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	p := newTestProvider(t, Config{}, nil)
	group := func(o *crm.Operation) {
		*o = crm.Operation{Action: crm.Share, Object: crm.SalesGroup, Record: team, User: leaver}
	}
	for name, c := range map[string]struct {
		edit   []func(*crm.Operation)
		column string
		says   string
	}{
		"no action":                {[]func(*crm.Operation){func(o *crm.Operation) { o.Action = 0 }}, "action", ""},
		"revoke_all":               {[]func(*crm.Operation){func(o *crm.Operation) { o.Action = crm.RevokeAll }}, "action", "revoke_all"},
		"a Zoho module":            {[]func(*crm.Operation){func(o *crm.Operation) { o.Object = "Quotes" }}, "object", ""},
		"no record":                {[]func(*crm.Operation){func(o *crm.Operation) { o.Record = "" }}, "record_id", "empty"},
		"a lead's GUID":            {[]func(*crm.Operation){func(o *crm.Operation) { o.Record = deal }}, "record_id", "ProspectAutoId"},
		"digits eaten":             {[]func(*crm.Operation){func(o *crm.Operation) { o.Record = "4.15087E+18" }}, "record_id", "spreadsheet"},
		"digits eaten, comma":      {[]func(*crm.Operation){func(o *crm.Operation) { o.Record = "1,23457E+05" }}, "record_id", "as text"},
		"a sign":                   {[]func(*crm.Operation){func(o *crm.Operation) { o.Record = "-5" }}, "record_id", "digits"},
		"20 digits":                {[]func(*crm.Operation){func(o *crm.Operation) { o.Record = "12345678901234567890" }}, "record_id", "digits"},
		"other scripts' digits":    {[]func(*crm.Operation){func(o *crm.Operation) { o.Record = "١٢٣" }}, "record_id", "digits"},
		"a line break":             {[]func(*crm.Operation){func(o *crm.Operation) { o.Record = "12\n" }}, "record_id", "digits"},
		"an opportunity's number":  {[]func(*crm.Operation){func(o *crm.Operation) { o.Object = "opportunity" }}, "record_id", "GUID"},
		"a lead without context":   {[]func(*crm.Operation){func(o *crm.Operation) { o.Context = "" }}, "context_id", "activity"},
		"a context that is no id":  {[]func(*crm.Operation){func(o *crm.Operation) { o.Context = "x/../y" }}, "context_id", "GUID"},
		"no user":                  {[]func(*crm.Operation){func(o *crm.Operation) { o.User = "" }}, "user", "empty"},
		"a user's name":            {[]func(*crm.Operation){func(o *crm.Operation) { o.User = "Bob Doe" }}, "user", "e-mail"},
		"a GUID without dashes":    {[]func(*crm.Operation){func(o *crm.Operation) { o.User = strings.ReplaceAll(leaver, "-", "") }}, "user", "GUID"},
		"a GUID with half a brace": {[]func(*crm.Operation){func(o *crm.Operation) { o.User = "{" + leaver }}, "user", "GUID"},
		"revoke of full":           {[]func(*crm.Operation){func(o *crm.Operation) { o.Access = crm.Full }}, "access", "full"},
		"share without a level":    {[]func(*crm.Operation){asShare, func(o *crm.Operation) { o.Access = 0 }}, "access", "read or write"},
		"share of full":            {[]func(*crm.Operation){asShare, func(o *crm.Operation) { o.Access = crm.Full }}, "access", "full"},
		"share with related":       {[]func(*crm.Operation){asShare, func(o *crm.Operation) { o.Related = crm.No }}, "share_related", ""},
		"share with permissions":   {[]func(*crm.Operation){asShare, func(o *crm.Operation) { o.Permissions = 1 }}, "group_permissions", ""},
		"share for minus a minute": {[]func(*crm.Operation){asShare, func(o *crm.Operation) { o.Minutes = -1 }}, "duration_minutes", "negative"},
		"opportunity in a context": {[]func(*crm.Operation){asShare, func(o *crm.Operation) { o.Object, o.Record = "5", deal }}, "context_id", "only leads"},
		"group by number":          {[]func(*crm.Operation){group, func(o *crm.Operation) { o.Record = "12" }}, "record_id", "GUID"},
		"group with a level":       {[]func(*crm.Operation){group, func(o *crm.Operation) { o.Access = crm.Read }}, "access", "permissions"},
		"group with a duration":    {[]func(*crm.Operation){group, func(o *crm.Operation) { o.Minutes = 5 }}, "duration_minutes", ""},
		"group with related":       {[]func(*crm.Operation){group, func(o *crm.Operation) { o.Related = crm.Yes }}, "share_related", ""},
		"group in a context":       {[]func(*crm.Operation){group, func(o *crm.Operation) { o.Context = activity }}, "context_id", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := leadRevoke()
			for _, edit := range c.edit {
				edit(&op)
			}
			_, err := p.Check(op)
			fe, ok := errors.AsType[*crm.FieldError](err)
			if !ok || fe.Column != c.column || !strings.Contains(fe.Reason, c.says) {
				t.Errorf("Check = %v, want a FieldError on %q that says %q", err, c.column, c.says)
			}
		})
	}
}

func TestKeyAndBundle(t *testing.T) {
	t.Parallel()
	p := newTestProvider(t, Config{MaxEntries: 5}, nil)
	group := crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: team, User: leaver}
	for _, c := range []struct {
		op   crm.Operation
		key  crm.Target
		name string
		most int
	}{
		{leadRevoke(), crm.Target{Object: "lead", Record: "869196", Context: activity, User: leaver}, "revoke/lead", 5},
		{dealRevoke(), crm.Target{Object: "opportunity", Record: deal, User: colleague}, "revoke/opportunity", 5},
		{with(leadRevoke(), asShare), crm.Target{Object: "lead", Record: "869196", Context: activity, User: leaver}, "", 0},
		{group, crm.Target{Object: "sales_group", Record: team}, "", 0},
	} {
		if got := p.Key(c.op); got != c.key {
			t.Errorf("Key = %q, want %q", got, c.key)
		}
		if name, most := p.Bundle(c.op); name != c.name || most != c.most {
			t.Errorf("Bundle = %q, %d; want %q, %d", name, most, c.name, c.most)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"api-in21.leadsquared.com":                "api-in21.leadsquared.com",
		"https://API-in21.leadsquared.com":        "api-in21.leadsquared.com",
		"https://api-in21.leadsquared.com/v2":     "api-in21.leadsquared.com",
		" https://api-in21.leadsquared.com/v2/\n": "api-in21.leadsquared.com",
		"api-in21.leadsquared.com:443/v2/":        "api-in21.leadsquared.com",
		"api-in21.leadsquared.com:8443":           "api-in21.leadsquared.com:8443",
		"http://127.0.0.1:8080":                   "127.0.0.1:8080",
		"http://localhost:80":                     "localhost",
		"http://[::1]:9":                          "[::1]:9",
		"https://[::1]":                           "[::1]",
	} {
		if got, err := Host(in); err != nil || got != want {
			t.Errorf("Host(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "http://api.leadsquared.com", "ftp://api.leadsquared.com", "https://", "api.leadsquared.com/v3",
		"https://key:secret@api.leadsquared.com", "https://api.leadsquared.com?accessKey=u$r1", "a b", "api_.x", "https://api.leadsquared.com/v2#x",
		"http://127.0.0.1.evil.example", "%zz",
	} {
		got, err := Host(in)
		if err == nil {
			t.Errorf("Host(%q) = %q, want an error", in, got)
		} else if strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "u$r1") {
			t.Errorf("Host(%q) repeats what may be a key: %v", in, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Config{Host: "api.leadsquared.com", AccessKey: transport.NewSecret("u$rkey"), SecretKey: transport.NewSecret("topsecret")}
	for name, edit := range map[string]func(*Config){
		"no host":               func(c *Config) { c.Host = "" },
		"no access key":         func(c *Config) { c.AccessKey = transport.Secret{} },
		"no secret key":         func(c *Config) { c.SecretKey = transport.Secret{} },
		"a line break in a key": func(c *Config) { c.SecretKey = transport.NewSecret("topsecret\n") },
		"negative entries":      func(c *Config) { c.MaxEntries = -1 },
		"negative users":        func(c *Config) { c.MaxUsers = -1 },
		"plain callback":        func(c *Config) { c.CallbackURL = "http://example.test/hook" },
		"half a callback":       func(c *Config) { c.CallbackURL = "https:///hook" },
		"revokes of full":       func(c *Config) { c.RevokeAccess = crm.Full },
		"a path elsewhere":      func(c *Config) { c.RemoveUsersPath = "https://evil.example/v2" },
		"a path upwards":        func(c *Config) { c.RemoveUsersPath = "/v2/../x" },
		"a code both ways":      func(c *Config) { c.FailureCodes = []int{6} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			edit(&cfg)
			_, err := New(cfg, transport.Config{}, nil)
			if err == nil {
				t.Fatal("New accepted it")
			}
			if strings.Contains(err.Error(), "topsecret") {
				t.Errorf("the error repeats a key: %v", err)
			}
		})
	}
}
