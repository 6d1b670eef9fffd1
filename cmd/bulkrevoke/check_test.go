package main

import (
	"bufio"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// A check tells of each account what would stop a run, and changes nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	inactive := crm.User{ID: guidOf('a', 1), Email: "gone@example.com"}
	for name, tt := range map[string]struct {
		world sandbox.Config
		env   map[string]string
		args  []string
		code  int
		want  []string
		never string
	}{
		"ready": {code: exitDone, want: []string{
			"crm (Zoho at 127.0.0.1:", "lsq (LeadSquared at 127.0.0.1:", "): ready\n    keys of admin <admin@sandbox.example>, Administrator: may share and revoke\n",
			"organisation 50001, 1 user; a run may make 1000 of its 1000 calls in 1s; the clocks agree\n", "\nstate folder ",
		}, never: "can not"},
		"one account":      {args: []string{"--account", "LSQ"}, code: exitDone, want: []string{"lsq (LeadSquared"}, never: "Zoho"},
		"the default":      {env: map[string]string{"BULKREVOKE_ACCOUNT": "lsq"}, code: exitDone, want: []string{"lsq (LeadSquared", "crm (Zoho"}},
		"no such account":  {args: []string{"--account", "lsx"}, code: exitRefused, want: []string{`there is no account "lsx"; did you mean lsq?`}},
		"an argument":      {args: []string{"lsq"}, code: exitRefused, want: []string{"check takes no argument"}},
		"a sandbox":        {args: []string{"--sandbox"}, code: exitDone, want: []string{"leadsquared (LeadSquared at sandbox): ready", "zoho (Zoho at sandbox): ready"}, never: "state folder"},
		"no administrator": {world: sandbox.Config{NotAdmin: true}, code: exitStopped, want: []string{"lsq (LeadSquared at 127.0.0.1:", `keys: the keys belong to a user whose role is "Sales_User"`, "crm (Zoho"}},
		"another profile": {world: sandbox.Config{Zoho: sandbox.ZohoConfig{Owner: crm.User{ID: zohoUser(3), Email: "jo.doe@example.com", Active: true}}}, code: exitDone,
			want: []string{"keys of jo doe <jo.doe@example.com>"}},
		"dead keys":     {world: sandbox.Config{Owner: inactive}, code: exitStopped, want: []string{"can not be worked with\n    keys: "}},
		"another host":  {world: sandbox.Config{Host: "api-us11.leadsquared.com"}, code: exitStopped, want: []string{"lsq", "api-us11.leadsquared.com"}},
		"no such host":  {env: map[string]string{"BULKREVOKE_CONFIG": ""}, args: []string{"--config", "NOWHERE"}, code: exitStopped, want: []string{"far (LeadSquared at 127.0.0.1:1): can not be worked with\n    unreachable: "}},
		"a fast clock":  {world: sandbox.Config{ClockAhead: -301 * time.Second}, code: exitStopped, want: []string{"clock: this machine's clock is 5m", "ahead of the CRM's", "Set this machine's clock right"}},
		"a slow clock":  {world: sandbox.Config{ClockAhead: 20 * time.Minute}, code: exitStopped, want: []string{"behind the CRM's"}},
		"a clock off":   {world: sandbox.Config{ClockAhead: 4 * time.Minute}, code: exitDone, want: []string{"this machine's clock is ", "behind the CRM's"}},
		"no clock":      {world: sandbox.Config{NoDate: true}, code: exitDone, want: []string{"the CRM does not say what time it is"}},
		"a secret less": {env: map[string]string{"RIG_SECRET": ""}, code: exitRefused, want: []string{"lsq (LeadSquared): can not be worked with\n    secret_key: the environment variable RIG_SECRET is not set\n", "crm (Zoho at 127.0.0.1:", "): ready"}},
		"a wrong secret": {world: sandbox.Config{Zoho: sandbox.ZohoConfig{ClientSecret: "another"}}, code: exitStopped,
			want: []string{"keys: the token service refuses the client secret", "lsq (LeadSquared at"}, never: "client-secret-0123"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.world)
			nowhere := r.write("nowhere.yaml", "accounts:\n  far: {crm: leadsquared, host: 'http://127.0.0.1:1', access_key: env:RIG_ACCESS, secret_key: env:RIG_SECRET}\n")
			for name, value := range tt.env {
				r.env[name] = value
			}
			args := []string{"check"}
			for _, arg := range tt.args {
				args = append(args, strings.ReplaceAll(arg, "NOWHERE", nowhere))
			}
			got := r.runs(tt.code, args...)
			all := got.stdout + got.stderr
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("it does not say %q:\n%s", want, all)
				}
			}
			if tt.never != "" && strings.Contains(all, tt.never) {
				t.Errorf("it says %q:\n%s", tt.never, all)
			}
			if n := r.changes(); n > 0 {
				t.Errorf("%d changes were sent", n)
			}
		})
	}
}

// What an earlier run remembers does not count: neither whose keys they are, nor that an
// access token was given out.
func TestCheckAsksAfresh(t *testing.T) {
	t.Parallel()
	owner := crm.User{ID: zohoUser(7), Email: "ann@example.com", Active: true}
	r := newRig(t, sandbox.Config{Owner: crm.User{ID: guidOf('a', 7), Email: "ann@example.com", Active: true}, Zoho: sandbox.ZohoConfig{Owner: owner}})
	r.seedQuote(1, 2)
	r.sheet(lead("revoke", 1), quote("revoke", 1, 2))
	r.runs(exitDone, "run", r.path("off.csv"))
	r.server.AddUser(crm.User{ID: guidOf('a', 7), Email: "ann@example.com"}, "")
	r.server.AddUser(crm.User{ID: zohoUser(7), Email: "ann@example.com"}, "")
	got := r.runs(exitStopped, "check")
	if strings.Count(got.stdout, "can not be worked with") != 2 || strings.Contains(got.stdout, "ready") {
		t.Errorf("keys of somebody who has gone:\n%s", got.stdout)
	}
	r.server.AddUser(crm.User{ID: guidOf('a', 7), Email: "ann@example.com", Active: true}, "Administrator")
	r.server.AddUser(crm.User{ID: zohoUser(7), Email: "ann@example.com", Active: true}, "Administrator")
	r.runs(exitDone, "check")
}

// A check keeps off an account that a run works with, and says which.
func TestCheckOfAHeldAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.runs(exitDone, "check")
	_, host, _ := strings.Cut(r.base, "://")
	folder := filepath.Join(r.env["BULKREVOKE_STATE"], transport.OrganisationName("leadsquared", host, "50001"))
	l, err := acquireLock(t.Context(), lockOptions{path: filepath.Join(folder, "lock"), holder: me("other.csv")})
	must(t, err)
	got := r.runs(exitHeld, "check")
	if !strings.Contains(got.stderr, `account "lsq" is held by another run`) || !strings.Contains(got.stderr, "other.csv") {
		t.Errorf("a held account: %s", got.stderr)
	}
	must(t, l.release())
	r.runs(exitDone, "check", "--wait", "10s")
}

// For machines every line of standard error is an object, one for each account.
func TestCheckForMachines(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{NotAdmin: true})
	got := r.runs(exitStopped, "check", "--log-format", "json")
	ready := map[string]any{}
	for in := bufio.NewScanner(strings.NewReader(got.stderr)); in.Scan(); {
		var line map[string]any
		must(t, json.Unmarshal(in.Bytes(), &line))
		if line["msg"] == "checked" {
			ready[line["account"].(string)] = line["ready"]
			if line["ready"] == false && (line["level"] != "ERROR" || !strings.Contains(line["error"].(string), "Sales_User")) {
				t.Errorf("got %v", line)
			}
			if line["ready"] == true && (line["users"] != 1.0 || line["may_share"] != true || line["role"] != "Administrator") {
				t.Errorf("got %v", line)
			}
		}
	}
	if len(ready) != 2 || ready["lsq"] != false || ready["crm"] != true {
		t.Errorf("told of %v", ready)
	}
	if quiet := r.runs(exitStopped, "check", "--quiet"); quiet.stderr != "" {
		t.Errorf("with --quiet: %s", quiet.stderr)
	}
}
