//go:build fleet

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
)

// What DESIGN promises of hosts, and the limit that the accounts of a world have.
const (
	fleetLimit  = 25
	fleetWindow = 5 * time.Second
	fleetLease  = 10 * time.Second // a host sends for so long after a heartbeat
	fleetOwned  = 25 * time.Second // from a host's end until others have its sheets
	fleetCalled = 35 * time.Second // from a host's end until others call for its accounts
	fleetDeath  = 15 * time.Second // from a host's last heartbeat until it can be declared dead

	// fleetSlack is how late a machine with everything on it may be in seeing something.
	fleetSlack = 500 * time.Millisecond
)

// fleetWorld is a database, a CRM, and the processes that work with them.
type fleetWorld struct {
	t    *testing.T
	dice *dice
	dir  string
	pg   *pgtest.Server
	db   *pgx.ConnConfig // past all proxies
	url  string
	crm  *fleetCRM

	env    []string
	vault  *vault
	sheets []*fleetSheet
	lose   func() lostCommit // what becomes of the COMMITs of new processes
	clocks map[string]string // the program of places whose wall clock is wrong

	mu        sync.Mutex // guards everything below
	processes []*fleetProcess
}

// fleetSheet is a sheet of a world.
type fleetSheet struct {
	name     string // that of its ledger
	path     string
	accounts []string
	rows     []fleetRow
	run      bool // it is not submitted
}

// fleetProcess is a process of the real program, with networks of its own.
type fleetProcess struct {
	w     *fleetWorld
	name  string // its application_name
	place string // which host it is on
	cmd   *exec.Cmd
	db    *dbProxy
	crm   *crmProxy
	log   string
	ended chan struct{} // closed when it has ended
	code  int           // after that

	mu   sync.Mutex  // guards everything below
	hurt []time.Time // when something happened that may have cost it answers
	gone []time.Time // when it was killed, or frozen or cut off for longer than others wait
}

// fleetSize is how large a world is: so many sheets of one account each, of three, of one
// account that they have in common, and of one that are not submitted but run.
type fleetSize struct{ single, triple, common, runs, rows int }

// newFleetWorld makes a world.
func newFleetWorld(t *testing.T, seed uint64, stream uint64, size fleetSize) *fleetWorld {
	t.Helper()
	_, err := program()
	must(t, err)
	w := &fleetWorld{t: t, dice: newDice(seed, stream), dir: fleetFolder(t), pg: pgtest.Start(t), vault: &vault{secrets: map[string]string{}}}
	w.url = w.pg.NewDatabase(t)
	w.db, err = pgx.ParseConfig(w.url)
	must(t, err)
	w.crm = newFleetCRM(t, fleetLimit, fleetWindow, newDice(seed, stream+1000))
	must(t, os.WriteFile(w.file("ca.pem"), w.crm.certificate(), 0o600))
	var config strings.Builder
	config.WriteString("share: 1\naccounts:\n")
	secret := func(name string) string {
		raw := make([]byte, 16)
		for i := range raw {
			raw[i] = byte(w.dice.IntN(256))
		}
		w.vault.secrets[name] = hex.EncodeToString(raw)
		return w.vault.secrets[name]
	}
	w.env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.Contains(strings.ToLower(s), "_proxy=") })
	account := func() string {
		n := len(w.crm.accounts)
		name := fmt.Sprintf("acc%03d", n)
		key := secret("access key of " + name)
		w.crm.accounts[key] = name
		fmt.Fprintf(&config, "  %s: {crm: leadsquared, host: %s, ca_file: %s, limit: %d/%v, access_key: env:FLEET_KEY_%d, secret_key: env:FLEET_SECRET_%d}\n",
			name, fleetCRMHost, w.file("ca.pem"), fleetLimit, fleetWindow, n, n)
		w.env = append(w.env, fmt.Sprintf("FLEET_KEY_%d=%s", n, key), fmt.Sprintf("FLEET_SECRET_%d=%s", n, secret("secret key of "+name)))
		return name
	}
	for range size.single {
		w.sheet(size.rows, account())
	}
	for range size.triple {
		w.sheet(size.rows, account(), account(), account())
	}
	if size.common > 0 {
		common := account()
		for range size.common {
			w.sheet(size.rows, common)
		}
	}
	for range size.runs {
		w.sheet(size.rows, account()).run = true
	}
	must(t, os.WriteFile(w.file("bulkrevoke.yaml"), []byte(config.String()), 0o600))
	t.Cleanup(w.end)
	w.audit()
	return w
}

func (w *fleetWorld) file(name string) string { return filepath.Join(w.dir, name) }

// sheet adds a sheet of so many rows for each of the accounts: shares and revokes, some of
// them two on one target that must act in order.
func (w *fleetWorld) sheet(rows int, accounts ...string) *fleetSheet {
	s := &fleetSheet{name: fmt.Sprintf("sheet%02d", len(w.sheets)), accounts: accounts}
	s.path = w.file(s.name + ".csv")
	for range rows {
		for _, account := range accounts {
			n := len(s.rows)
			r := fleetRow{account: account, action: pick(w.dice, "share", "revoke"), record: fmt.Sprint(7000 + 1000*len(w.sheets) + n), context: guidOf('c', n), user: guidOf('u', n%9)}
			s.rows = append(s.rows, r)
			if w.dice.one(6) {
				r.action = map[string]string{"share": "revoke", "revoke": "share"}[r.action]
				s.rows = append(s.rows, r)
			}
		}
	}
	var b strings.Builder
	b.WriteString(rigHead)
	for _, r := range s.rows {
		b.WriteString(r.text() + "\n")
	}
	must(w.t, os.WriteFile(s.path, []byte(b.String()), 0o600))
	w.sheets = append(w.sheets, s)
	return s
}

// auditing notes in the world's database, outside of what the program knows of, who has taken
// and given back what, whose heartbeats came, and who has written into which ledger. Who it was
// says the name that each process gives its connections.
const auditing = `
CREATE SCHEMA audit;
CREATE TABLE audit.claim (n bigserial, key text, what text, app text, free boolean, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE audit.beat (app text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE audit.event (ledger bigint, app text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE audit.host (id text, app text);
CREATE FUNCTION audit.claimed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO audit.claim (key, what, app, free) VALUES (NEW.key, NEW.what, current_setting('application_name'), NEW.host IS NULL); RETURN NULL; END $$;
CREATE FUNCTION audit.beaten() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO audit.beat (app) VALUES (current_setting('application_name')); RETURN NULL; END $$;
CREATE FUNCTION audit.written() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO audit.event (ledger, app) VALUES (NEW.ledger, current_setting('application_name')); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE OF generation, host ON bulkrevoke.fleet_claim FOR EACH ROW EXECUTE FUNCTION audit.claimed();
CREATE TRIGGER audit_new AFTER INSERT ON bulkrevoke.fleet_host FOR EACH ROW EXECUTE FUNCTION audit.beaten();
CREATE TRIGGER audit_seen AFTER UPDATE OF seen ON bulkrevoke.fleet_host FOR EACH ROW EXECUTE FUNCTION audit.beaten();
CREATE TRIGGER audit AFTER INSERT ON bulkrevoke.ledger_event FOR EACH ROW EXECUTE FUNCTION audit.written();
`

// audit has the program make its tables, and adds the notes of the judge.
func (w *fleetWorld) audit() {
	w.t.Helper()
	if p := w.run("status"); p.code != 0 {
		w.t.Fatalf("status: exit %d\n%s", p.code, p.said())
	}
	c := w.connect()
	defer c.Close(context.Background())
	_, err := c.Exec(w.t.Context(), auditing)
	must(w.t, err)
}

// connect connects to the world's database.
func (w *fleetWorld) connect() *pgx.Conn {
	w.t.Helper()
	c, err := pgx.ConnectConfig(w.t.Context(), w.db)
	must(w.t, err)
	return c
}

// start starts the program on a host.
func (w *fleetWorld) start(place string, args ...string) *fleetProcess {
	w.t.Helper()
	w.mu.Lock()
	p := &fleetProcess{w: w, place: place, name: fmt.Sprintf("p%d-%s", len(w.processes), place), ended: make(chan struct{})}
	w.processes = append(w.processes, p)
	w.mu.Unlock()
	p.db, p.crm = newDBProxy(w.t, filepath.Join(w.db.Host, ".s.PGSQL.5432")), newCRMProxy(w.t, w.crm, p)
	p.db.mu.Lock()
	p.db.lose = w.lose
	p.db.mu.Unlock()
	path, err := program()
	must(w.t, err)
	path = cmp.Or(w.clocks[place], path)
	p.log = w.file(p.name + ".log")
	log, err := os.Create(p.log)
	must(w.t, err)
	defer log.Close()
	u, err := url.Parse(w.url)
	must(w.t, err)
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = w.dir, log, log
	p.cmd.Env = append(slices.Clone(w.env), "BULKREVOKE_STATE="+w.file("state-"+place), "HTTPS_PROXY="+p.crm.url(),
		fmt.Sprintf("BULKREVOKE_DATABASE=postgres://postgres@%s%s?application_name=%s", p.db.address(), u.Path, p.name))
	must(w.t, p.cmd.Start())
	go func() {
		err := p.cmd.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			p.code = exit.ExitCode()
		} else if err != nil {
			p.code = -2
		}
		close(p.ended)
	}()
	return p
}

// withClock builds the program for a host whose wall clock is wrong by so much. All that only
// measures how long something takes is as it was.
func (w *fleetWorld) withClock(wrong time.Duration) (path string) {
	w.t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	must(w.t, err)
	clock := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(clock)
	must(w.t, err)
	const reads = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reads) != 1 {
		w.t.Fatalf("%s does not read the clock in one place by %q", clock, reads)
	}
	name := "clock" + strconv.Itoa(int(wrong.Seconds()))
	other, overlay := w.file(name+".go"), w.file(name+".json")
	must(w.t, os.WriteFile(other, []byte(strings.Replace(string(text), reads, reads+fmt.Sprintf("\tsec += %d\n", int(wrong.Seconds())), 1)), 0o600))
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {clock: other}})
	must(w.t, err)
	must(w.t, os.WriteFile(overlay, replace, 0o600))
	path = w.file(name)
	out, err := exec.Command("go", "build", "-overlay", overlay, "-o", path, ".").CombinedOutput()
	if err != nil {
		w.t.Fatalf("build the program with another clock: %v\n%s", err, out)
	}
	return path
}

// worker starts a worker.
func (w *fleetWorld) worker(place string) *fleetProcess { return w.start(place, "worker") }

// spread starts so many workers, each with its part of the queued sheets, and then one more that
// has room for all of them.
func (w *fleetWorld) spread(n int) (hosts []*fleetProcess) {
	w.t.Helper()
	queued := 0
	for _, s := range w.sheets {
		if !s.run {
			queued++
		}
	}
	for i := range n {
		hosts = append(hosts, w.start(string(rune('a'+i)), "worker", "--at-once", strconv.Itoa((queued+n-1)/n)))
	}
	until(w.t, "not all sheets are at work", func() bool {
		states, err := w.states()
		return err == nil && !slices.ContainsFunc(states, func(s fleetState) bool { return s.state == "queued" })
	})
	return append(hosts, w.worker("spare"))
}

// run runs the program to its end.
func (w *fleetWorld) run(args ...string) *fleetProcess {
	w.t.Helper()
	p := w.start("desk", args...)
	p.await(5 * time.Minute)
	return p
}

// await waits until the process has ended, and returns its exit code.
func (p *fleetProcess) await(most time.Duration) int {
	p.w.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(most):
		_ = p.cmd.Process.Kill()
		<-p.ended
		p.w.t.Fatalf("%s has not ended within %v\n%s", p.name, most, p.said())
		return -1
	}
}

func (p *fleetProcess) said() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-4000):])
}

func (p *fleetProcess) saidSo(what string) bool {
	text, _ := os.ReadFile(p.log)
	return bytes.Contains(text, []byte(what))
}

// hurtNow notes that something has happened to the process that may cost it answers, and that
// others have to go on without it if it is gone.
func (p *fleetProcess) hurtNow(gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hurt = append(p.hurt, time.Now())
	if gone {
		p.gone = append(p.gone, time.Now())
	}
}

// kill kills the process.
func (p *fleetProcess) kill() {
	p.hurtNow(true)
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// freeze stops the process for a time. It returns at once; thawed is closed when it goes on.
func (p *fleetProcess) freeze(d time.Duration) (thawed <-chan struct{}) {
	p.hurtNow(d > fleetDeath)
	p.signal(syscall.SIGSTOP)
	done := make(chan struct{})
	time.AfterFunc(d, func() {
		p.signal(syscall.SIGCONT)
		close(done)
	})
	return done
}

// cut changes the process's network to the database for a time.
func (p *fleetProcess) cut(state network, d time.Duration) (healed <-chan struct{}) {
	p.hurtNow(true)
	p.db.become(state)
	done := make(chan struct{})
	time.AfterFunc(d, func() {
		p.db.become(networkGood)
		close(done)
	})
	return done
}

func (p *fleetProcess) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// submit queues all sheets of the world.
func (w *fleetWorld) submit() {
	w.t.Helper()
	args := []string{"submit", "--quiet", "--yes"}
	for _, s := range w.sheets {
		if !s.run {
			args = append(args, s.path)
		}
	}
	if p := w.run(args...); p.code != 0 {
		w.t.Fatalf("submit: exit %d\n%s", p.code, p.said())
	}
}

// fleetState is where a sheet stands.
type fleetState struct{ ledger, state, why string }

func (w *fleetWorld) states() (states []fleetState, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, w.db)
	if err != nil {
		return nil, err
	}
	defer c.Close(context.Background())
	rows, err := c.Query(ctx, "SELECT ledger, state, why FROM bulkrevoke.fleet_sheet ORDER BY ledger")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s fleetState, err error) {
		err = row.Scan(&s.ledger, &s.state, &s.why)
		return s, err
	})
}

// open returns how many sheets are not done.
func (w *fleetWorld) open() int {
	states, err := w.states()
	if err != nil {
		return len(w.sheets)
	}
	n := 0
	for _, s := range states {
		if s.state != "done" {
			n++
		}
	}
	return n
}

// finish waits until every sheet is done, and ends the workers.
func (w *fleetWorld) finish(most time.Duration) {
	w.t.Helper()
	for deadline := time.Now().Add(most); w.open() > 0; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			states, err := w.states()
			w.t.Fatalf("after %v not all sheets are done: %v %v%s", most, states, err, w.logs())
		}
	}
	living := w.living()
	for _, p := range living {
		p.signal(syscall.SIGTERM)
	}
	for _, p := range living {
		if code := p.await(time.Minute); code != 0 {
			w.t.Errorf("%s ended with %d\n%s", p.name, code, p.said())
		}
	}
}

// living returns the processes that have not ended.
func (w *fleetWorld) living() (living []*fleetProcess) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.processes {
		select {
		case <-p.ended:
		default:
			living = append(living, p)
		}
	}
	return living
}

// logs is what the last processes have said.
func (w *fleetWorld) logs() string {
	var b strings.Builder
	for _, p := range w.living() {
		fmt.Fprintf(&b, "\n%s:\n%s", p.name, p.said())
	}
	return b.String()
}

// end ends what is left.
func (w *fleetWorld) end() {
	for _, p := range w.living() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// progress waits until so many more calls have come.
func (w *fleetWorld) progress(calls int) {
	w.t.Helper()
	want := w.crm.count() + calls
	for deadline := time.Now().Add(90 * time.Second); w.crm.count() < want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("after 90 s only %d of %d calls have come%s", w.crm.count(), want, w.logs())
		}
	}
}

// pause waits for a time of the dice, of at least and at most so long.
func (w *fleetWorld) pause(least, most time.Duration) {
	time.Sleep(least + time.Duration(w.dice.IntN(int(most-least))))
}

// fleetKills is how many hosts a campaign kills; a longer one sets BULKREVOKE_TEST_FLEET_KILLS.
func fleetKills(t *testing.T) int {
	t.Helper()
	return numberIn(t, "BULKREVOKE_TEST_FLEET_KILLS", 20)
}

// awaitSaid waits until the process has said something.
func (p *fleetProcess) awaitSaid(what string, most time.Duration) {
	p.w.t.Helper()
	for deadline := time.Now().Add(most); !p.saidSo(what); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.w.t.Errorf("%s has not said %q within %v:\n%s", p.name, what, most, p.said())
			return
		}
	}
}

// fleetFolder is a folder for a world, which BULKREVOKE_TEST_FLEET_FOLDER has be kept, with what
// all processes have said.
func fleetFolder(t *testing.T) string {
	t.Helper()
	kept := os.Getenv("BULKREVOKE_TEST_FLEET_FOLDER")
	if kept == "" {
		return t.TempDir()
	}
	dir := filepath.Join(kept, t.Name())
	must(t, os.MkdirAll(dir, 0o700))
	return dir
}
