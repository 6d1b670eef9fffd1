package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// loginConfig keeps the refresh token of its account in a file.
const loginConfig = `
limit: 1000/1s
accounts:
  lsq: {crm: leadsquared, host: BASE, access_key: env:RIG_ACCESS, secret_key: env:RIG_SECRET}
  crm: {crm: zoho, api_url: BASE, accounts_url: BASE, client_id: env:RIG_CLIENT, client_secret: env:RIG_CLIENT_SECRET, refresh_token: "file:DIR/token"}
  fixed: {crm: zoho, api_url: BASE, accounts_url: BASE, client_id: "1000.OTHER", client_secret: env:RIG_CLIENT_SECRET, refresh_token: env:RIG_REFRESH}
`

// newLoginRig is a rig whose CRM gives out a refresh token for grantToken, once.
func newLoginRig(t *testing.T, world sandbox.ZohoConfig) *rig {
	t.Helper()
	if world.TokenLimit == 0 { // else any grant token is right, once
		world.GrantToken = "1000.grant-0123"
	}
	world.ClientID, world.RefreshToken = "1000.CLIENT", "1000.another"
	r := newRig(t, sandbox.Config{Zoho: world})
	r.configure(strings.ReplaceAll(loginConfig, "DIR", r.dir))
	return r
}

// says runs the command with a line on standard input.
func (r *rig) says(line string, args ...string) ran {
	r.t.Helper()
	o := &outside{stdin: strings.NewReader(line), env: r.env}
	code := o.execute(r.t.Context(), args...)
	return ran{code, o.stdout.String(), o.stderr.String()}
}

// A grant token becomes a refresh token in the file that the account names, and the account
// works with it.
func TestLogin(t *testing.T) {
	t.Parallel()
	r := newLoginRig(t, sandbox.ZohoConfig{})
	got := r.says("1000.grant-0123\n", "login", "crm", "--log-level", "debug")
	if got.code != exitDone {
		t.Fatalf("login ended with %d:\n%s", got.code, got.stderr)
	}
	for _, want := range []string{"Self Client", "ZohoCRM.share.all,ZohoCRM.users.READ,ZohoCRM.org.READ\n", "good once",
		"account crm: keys of admin <admin@sandbox.example>, Administrator", "the refresh token is in " + r.path("token"), "op=Token"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("it does not say %q:\n%s", want, got.stderr)
		}
	}
	token, err := os.ReadFile(r.path("token"))
	must(t, err)
	info, err := os.Stat(r.path("token"))
	must(t, err)
	if !strings.HasPrefix(string(token), "1000.") || info.Mode().Perm() != 0o600 {
		t.Errorf("the file holds %d bytes with mode %v", len(token), info.Mode())
	}
	for _, secret := range []string{strings.TrimSpace(string(token)), "1000.grant-0123", "client-secret-0123"} {
		if strings.Contains(got.stdout+got.stderr, secret) {
			t.Errorf("a secret is shown:\n%s", got.stderr)
		}
		must(t, filepath.WalkDir(r.env["BULKREVOKE_STATE"], func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds a secret", path)
			}
			return err
		}))
	}
	r.runs(exitDone, "check", "--account", "crm")

	// A second one of the same organisation takes its place; what does not work, does not.
	if got := r.says("1000.grant-0123\n", "login", "CRM"); got.code != exitStopped || !strings.Contains(got.stderr, "refuses the grant token (invalid_code)") {
		t.Errorf("a used grant token ended with %d:\n%s", got.code, got.stderr)
	}
	if now, err := os.ReadFile(r.path("token")); err != nil || string(now) != string(token) {
		t.Errorf("a refused login has changed the file: %q, %v", now, err)
	}
	r.runs(exitDone, "check", "--account", "crm")
}

// What is refused before anything is asked, and what the CRM says no to.
func TestLoginRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		world sandbox.ZohoConfig
		env   map[string]string
		token string // in the file before
		line  string
		args  []string
		code  int
		want  string
	}{
		"no account":       {args: []string{"login"}, code: exitRefused, want: "login takes one account, not 0"},
		"token as a word":  {args: []string{"login", "crm", "1000.grant-0123"}, code: exitRefused, want: "never stands on the command line"},
		"unknown account":  {args: []string{"login", "crn"}, code: exitRefused, want: `there is no account "crn"; did you mean crm?`},
		"no login":         {args: []string{"login", "lsq"}, code: exitRefused, want: `account "lsq" is LeadSquared, which has no login: the access key`},
		"a variable":       {args: []string{"login", "fixed"}, code: exitRefused, want: "refresh_token is env:RIG_REFRESH, and login can only write a file"},
		"no client secret": {env: map[string]string{"RIG_CLIENT_SECRET": ""}, code: exitRefused, want: "client_secret: the environment variable RIG_CLIENT_SECRET is not set"},
		"nothing given":    {line: " \n", code: exitRefused, want: "no grant token was given"},
		"a sentence":       {line: "what is this\n", code: exitRefused, want: "grant token: holds a space"},
		"another client":   {env: map[string]string{"RIG_CLIENT": "1000.OTHER"}, line: "1000.grant-0123", code: exitStopped, want: "does not know the client id"},
		"another token":    {line: "1000.other", code: exitStopped, want: "A grant token is good once"},
		"too many":         {world: sandbox.ZohoConfig{TokenLimit: 1, Concurrency: 20}, line: "1000.second", code: exitStopped, want: "too many tokens within 10 minutes"},
		"too many, kept":   {world: sandbox.ZohoConfig{TokenLimit: 1, Concurrency: 20}, token: "1000.another", line: "1000.second", code: exitStopped, want: "too many tokens within 10 minutes"},
		"gone":             {world: sandbox.ZohoConfig{Owner: crm.User{ID: zohoUser(1)}}, line: "1000.grant-0123", code: exitStopped, want: "refuses the grant token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLoginRig(t, tt.world)
			for name, value := range tt.env {
				r.env[name] = value
			}
			if tt.token != "" {
				r.write("token", tt.token+"\n")
			}
			if tt.world.TokenLimit > 0 {
				first := r.says("1000.grant-0123", "login", "crm")
				if first.code != exitDone {
					t.Fatalf("the first login ended with %d:\n%s", first.code, first.stderr)
				}
			}
			before, _ := os.ReadFile(r.path("token"))
			args := tt.args
			if args == nil {
				args = []string{"login", "crm"}
			}
			got := r.says(tt.line, args...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.want) {
				t.Errorf("ended with %d, want %d and %q:\n%s", got.code, tt.code, tt.want, got.stderr)
			}
			if after, _ := os.ReadFile(r.path("token")); string(after) != string(before) {
				t.Errorf("the file has changed from %q to %q", before, after)
			}
		})
	}
}

// A run at work with the account is waited for, or the login refused while the grant token is
// still good; a link is never written through.
func TestLoginKeepsOff(t *testing.T) {
	t.Parallel()
	r := newLoginRig(t, sandbox.ZohoConfig{})
	r.write("token", "1000.another\n")
	r.runs(exitDone, "check", "--account", "crm") // which tells the organisation
	_, host, _ := strings.Cut(r.base, "://")
	folder := filepath.Join(r.env["BULKREVOKE_STATE"], transport.OrganisationName("zoho", host, "5000000000000000010"))
	l, err := acquireLock(t.Context(), lockOptions{path: filepath.Join(folder, "lock"), holder: me("other.csv")})
	must(t, err)
	if got := r.says("1000.grant-0123\n", "login", "crm"); got.code != exitHeld || !strings.Contains(got.stderr, "other.csv") {
		t.Errorf("a held account ended with %d:\n%s", got.code, got.stderr)
	}
	must(t, l.release())
	must(t, os.Rename(r.path("token"), r.path("elsewhere")))
	must(t, os.Symlink("elsewhere", r.path("token")))
	if got := r.says("1000.grant-0123\n", "login", "crm"); got.code != exitRefused || !strings.Contains(got.stderr, "symbolic link") {
		t.Errorf("a link ended with %d:\n%s", got.code, got.stderr)
	}
	must(t, os.Remove(r.path("token")))
	must(t, os.Rename(r.path("elsewhere"), r.path("token")))
	if got := r.says("1000.grant-0123\n", "login", "crm"); got.code != exitDone {
		t.Errorf("afterwards it ended with %d:\n%s", got.code, got.stderr)
	}
}
