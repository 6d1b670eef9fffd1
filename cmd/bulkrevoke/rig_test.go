package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// rig is both CRMs and a folder with a configuration for them: an account lsq of
// LeadSquared, which is the default, and an account crm of Zoho. What is run in it
// is the real command, in this process or in one of its own.
type rig struct {
	t      *testing.T
	server *sandbox.Server
	base   string
	dir    string
	env    map[string]string
	now    func() time.Time // of the command and of both CRMs; nil for time.Now
}

// routeByObject returns the CRM whose object a word is.
func routeByObject(object string) string { return knownCRMs().route(object) }

const rigConfig = `
default: lsq
limit: 1000/1s
share: 1
progress: never
accounts:
  lsq:
    crm: leadsquared
    host: BASE
    access_key: env:RIG_ACCESS
    secret_key: env:RIG_SECRET
  crm:
    crm: zoho
    api_url: BASE
    accounts_url: BASE
    client_id: env:RIG_CLIENT
    client_secret: env:RIG_CLIENT_SECRET
    refresh_token: env:RIG_REFRESH
    max_in_flight: 8
    verify_after: 10ms
`

// newRig starts a CRM without limits other than those that world has, behind wrap
// if that is not nil.
func newRig(t *testing.T, world sandbox.Config, wrap ...func(http.Handler) http.Handler) *rig {
	t.Helper()
	if world.Limit == 0 {
		world.Limit = -1
	}
	if world.Zoho.Concurrency == 0 {
		world.Zoho.Concurrency, world.Zoho.TokenLimit = -1, -1
	}
	server, err := sandbox.New(world)
	must(t, err)
	handler := http.Handler(server)
	for _, w := range wrap {
		handler = w(handler)
	}
	web := httptest.NewServer(handler)
	t.Cleanup(func() {
		must(t, server.Close())
		web.CloseClientConnections()
		web.Close()
	})
	r := &rig{t: t, server: server, base: web.URL, dir: t.TempDir()}
	r.env = map[string]string{
		"RIG_ACCESS": "u$r-access-key", "RIG_SECRET": "secret-key-0123", "RIG_CLIENT": "1000.CLIENT",
		"RIG_CLIENT_SECRET": "client-secret-0123", "RIG_REFRESH": "1000.refresh-0123.token",
		"BULKREVOKE_STATE": filepath.Join(r.dir, "state"),
	}
	r.configure(rigConfig)
	return r
}

// configure writes the configuration, with BASE standing for the CRM's address.
func (r *rig) configure(text string) {
	r.t.Helper()
	r.env["BULKREVOKE_CONFIG"] = r.write("bulkrevoke.yaml", strings.ReplaceAll(text, "BASE", r.base))
}

// write writes a file into the folder and returns its path.
func (r *rig) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	must(r.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// path is that of a file in the folder.
func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// ran is how the command has ended.
type ran struct {
	code           int
	stdout, stderr string
}

// run runs the command in this process.
func (r *rig) run(args ...string) ran {
	r.t.Helper()
	return r.runUnder(r.t.Context(), args...)
}

func (r *rig) runUnder(ctx context.Context, args ...string) ran {
	o := &outside{stdin: strings.NewReader(""), env: r.env, now: r.now}
	code := o.execute(ctx, args...)
	return ran{code, o.stdout.String(), o.stderr.String()}
}

// runs is run for one that has to end with the given code.
func (r *rig) runs(code int, args ...string) ran {
	r.t.Helper()
	got := r.run(args...)
	if got.code != code {
		r.t.Fatalf("%q ended with %d, want %d:\n%s", args, got.code, code, got.stderr)
	}
	return got
}

// process is the command in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr strings.Builder // to be read after wait
	ended  chan error
}

// start starts the built command in the folder.
func (r *rig) start(args ...string) *process {
	r.t.Helper()
	path, err := program()
	must(r.t, err)
	return r.startCommand(exec.Command(path, args...))
}

func (r *rig) startCommand(cmd *exec.Cmd) *process {
	r.t.Helper()
	p := &process{t: r.t, cmd: cmd, ended: make(chan error, 1)}
	cmd.Dir, cmd.Env = r.dir, os.Environ()
	if cmd.Stderr == nil {
		cmd.Stderr = &p.stderr
	}
	for _, name := range slices.Sorted(maps.Keys(r.env)) {
		cmd.Env = append(cmd.Env, name+"="+r.env[name])
	}
	must(r.t, cmd.Start())
	go func() { p.ended <- cmd.Wait() }()
	r.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

// wait returns the exit code, -1 if a signal ended the process.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case err := <-p.ended:
		_, ok := errors.AsType[*exec.ExitError](err)
		if err != nil && !ok {
			p.t.Fatal(err)
		}
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(90 * time.Second):
		p.t.Fatalf("the process has not ended:\n%s", p.stderr.String())
		return 0
	}
}

// changes counts the changes that have arrived.
func (r *rig) changes() int {
	n := 0
	for _, a := range r.server.Arrivals() {
		if changes(a) {
			n++
		}
	}
	return n
}

// until waits for something to become true.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s: %s", what)
		}
	}
}

// results returns the rows of a result in the folder.
func (r *rig) results(name string) []map[string]string {
	r.t.Helper()
	return readResults(r.t, r.path(name))
}

// words returns the word in a column of each row of off.results.csv.
func (r *rig) words(column string) []string {
	r.t.Helper()
	var words []string
	for _, row := range r.results("off.results.csv") {
		words = append(words, row[column])
	}
	return words
}

// count says how many rows of off.results.csv have the result.
func (r *rig) count(result string) (n int) {
	r.t.Helper()
	for _, word := range r.words("result") {
		if word == result {
			n++
		}
	}
	return n
}

// only fails the test unless the folder holds these files, the configuration and
// the state.
func (r *rig) only(names ...string) {
	r.t.Helper()
	entries, err := os.ReadDir(r.dir)
	must(r.t, err)
	for _, e := range entries {
		if !slices.Contains(append(names, "bulkrevoke.yaml", "state"), e.Name()) {
			r.t.Errorf("%s was left behind", e.Name())
		}
	}
}

const rigHead = "account,action,object,record_id,context_id,user,access\n"

// sheet writes off.csv with the given rows and returns its path.
func (r *rig) sheet(rows ...string) string {
	r.t.Helper()
	return r.write("off.csv", rigHead+strings.Join(rows, "\n")+"\n")
}

// lead is a row about a lead of its own, for a user of its own.
func lead(action string, n int) string {
	access := "read"
	if action == "share" {
		access = "write"
	}
	return fmt.Sprintf("lsq,%s,lead,%d,%s,%s,%s", action, 7000+n, guidOf('c', n), guidOf('u', n), access)
}

// leads are n rows that revoke.
func leads(n int) []string {
	var rows []string
	for i := range n {
		rows = append(rows, lead("revoke", i))
	}
	return rows
}

// member is a row about a user of a sales group.
func member(action string, group, user int) string {
	return fmt.Sprintf("lsq,%s,sales_group,%s,,%s,", action, guidOf('e', group), guidOf('u', user))
}

// seedGroup makes a sales group with members.
func (r *rig) seedGroup(group int, users ...int) {
	for _, u := range users {
		r.server.AddUser(crm.User{ID: guidOf('u', u), Email: fmt.Sprintf("u%d@rig.example", u), Active: true}, "Sales_User")
		r.server.Seed(crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: guidOf('e', group), User: guidOf('u', u)})
	}
}

// quote is a row about a user of a Zoho record.
func quote(action string, record, user int) string {
	access := ""
	if action == "share" {
		access = "write"
	}
	return fmt.Sprintf("crm,%s,Quotes,%s,,%s,%s", action, zohoRecord(record), zohoUser(user), access)
}

// seedQuote makes a Zoho record that users have. They and user 9 are known.
func (r *rig) seedQuote(record int, users ...int) {
	var grants []crm.Grant
	for _, u := range append(users, 9) {
		r.server.AddUser(crm.User{ID: zohoUser(u), Email: addressOf(zohoUser(u)), Active: true}, "Standard")
		if u != 9 {
			grants = append(grants, crm.Grant{Kind: "user", ID: zohoUser(u), Access: crm.Read, Type: "private"})
		}
	}
	r.server.SeedZoho("Quotes", zohoRecord(record), grants...)
}

// shell is a command that runs a script, with the words after it as $0, $1, ...
func shell(script string, words ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{"-c", script}, words...)...)
}

// crowd runs subtests side by side, more of them than there are processors: what
// they do is wait for a CRM, mostly.
type crowd struct {
	t      *testing.T
	wg     sync.WaitGroup
	places chan struct{}
}

func newCrowd(t *testing.T) *crowd { return &crowd{t: t, places: make(chan struct{}, 24)} }

func (c *crowd) run(name string, test func(t *testing.T)) {
	c.wg.Go(func() {
		c.places <- struct{}{}
		defer func() { <-c.places }()
		c.t.Run(name, test)
	})
}

// wait returns when all of them are through; their test has to call it.
func (c *crowd) wait() { c.wg.Wait() }
