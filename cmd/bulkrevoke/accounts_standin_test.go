package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// standIn is a LeadSquared with any number of organisations, each with a limit of its own:
// the one whose name the access key begins with, up to a dash. It answers after a while,
// accepts every change and has carried it out by the time that it is asked.
type standIn struct {
	limit   int
	window  time.Duration
	latency time.Duration

	mu      sync.Mutex // guards everything below
	orgs    map[string]*standInOrg
	ids     int64
	counted standInCounts
}

// standInOrg is when the last calls of an organisation came, the oldest at next.
type standInOrg struct {
	last []time.Time
	next int
}

// standInCounts is what a stand-in has seen.
type standInCounts struct {
	Calls, Changes int64
	Refused        int64 // over a limit
}

// standInStats is where a stand-in tells its counts.
const standInStats = "/stats"

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == standInStats {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(s.counted)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	name, _, _ := strings.Cut(r.Header.Get("X-Lsq-Accesskey"), "-")
	id, admitted := s.admit(name, r.Method == http.MethodPost)
	time.Sleep(s.latency)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !admitted:
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"Status":"Error","ExceptionType":"MXAPIRateLimitExceededException","ExceptionMessage":"API calls exceeded the limit"}`)
	case strings.HasSuffix(r.URL.Path, "UserByAccessKey.Get"):
		fmt.Fprintf(w, `{"Id":"5a0d0b0c-0000-4000-8000-000000000001","Role":"Administrator","OrgId":"%s"}`, name)
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, `{"Status":"Success","ShareStatus":6,"ErrorMessage":null}`)
	default:
		fmt.Fprintf(w, `{"Status":"Success","Message":{"Id":"%032x"}}`, id)
	}
}

// admit counts a call and says whether the organisation's limit has room for it. The id is
// that of a change.
func (s *standIn) admit(name string, change bool) (id int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	org, now := s.orgs[name], time.Now()
	if org == nil {
		org = &standInOrg{last: make([]time.Time, s.limit)}
		s.orgs[name] = org
	}
	s.counted.Calls++
	if now.Sub(org.last[org.next]) < s.window {
		s.counted.Refused++
		return 0, false
	}
	org.last[org.next] = now
	org.next = (org.next + 1) % s.limit
	if change {
		s.counted.Changes++
	}
	s.ids++
	return s.ids, true
}

// standInCommand is the name by which the test binary is a stand-in, with its limit, its
// window and its latency as arguments. It prints its URL and ends with standard input.
const standInCommand = "crm-stand-in"

func serveStandIn() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	limit, err := strconv.Atoi(os.Args[1])
	fail(err)
	window, err := time.ParseDuration(os.Args[2])
	fail(err)
	latency, err := time.ParseDuration(os.Args[3])
	fail(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fail(http.Serve(listener, &standIn{limit: limit, window: window, latency: latency, orgs: make(map[string]*standInOrg)}))
}

// manyAccounts are accounts of a stand-in that runs in a process of its own.
type manyAccounts struct {
	tb   testing.TB
	dir  string
	base string
	env  []string
}

func newManyAccounts(tb testing.TB, n, limit int, window, latency time.Duration) *manyAccounts {
	tb.Helper()
	self, err := os.Executable()
	must(tb, err)
	cmd := exec.Command(self)
	cmd.Args = []string{standInCommand, strconv.Itoa(limit), window.String(), latency.String()}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(tb, err)
	out, err := cmd.StdoutPipe()
	must(tb, err)
	must(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	must(tb, err)
	m := &manyAccounts{tb: tb, dir: tb.TempDir(), base: strings.TrimSpace(line)}
	m.env = append(os.Environ(), "BULKREVOKE_STATE="+m.file("state"), "STAND_IN_SECRET=secret-key-0123")
	var config strings.Builder
	config.WriteString("share: 1\nquiet: true\naccounts:\n")
	for i := range n {
		fmt.Fprintf(&config, "  acc%04d:\n    crm: leadsquared\n    host: %s\n    limit: %d/%s\n    access_key: env:STAND_IN_KEY_%d\n    secret_key: env:STAND_IN_SECRET\n",
			i, m.base, limit, window, i)
		m.env = append(m.env, fmt.Sprintf("STAND_IN_KEY_%d=org%04d-key", i, i))
	}
	must(tb, os.WriteFile(m.file("bulkrevoke.yaml"), []byte(config.String()), 0o600))
	return m
}

func (m *manyAccounts) file(name string) string { return filepath.Join(m.dir, name) }

// sheet writes a sheet of so many rows for each of the first n accounts, whose rows stand
// among each other.
func (m *manyAccounts) sheet(name string, n, rows int) {
	m.tb.Helper()
	var b strings.Builder
	b.WriteString(rigHead)
	for row := range rows {
		for acc := range n {
			at := acc*rows + row
			fmt.Fprintf(&b, "acc%04d,revoke,lead,%d,%s,%s,read\n", acc, 7000+at, guidOf('c', at), guidOf('u', at))
		}
	}
	must(m.tb, os.WriteFile(m.file(name), []byte(b.String()), 0o600))
}

// run runs the built command to its end, and returns how long that took, its processor
// time and its peak memory. Any exit code but 0 fails the test.
func (m *manyAccounts) run(args ...string) (took, cpu time.Duration, memory int64) {
	m.tb.Helper()
	path, err := program()
	must(m.tb, err)
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = m.dir, m.env
	var errs strings.Builder
	cmd.Stderr = &errs
	start := time.Now()
	err = cmd.Run()
	took = time.Since(start)
	if err != nil {
		text := errs.String()
		m.tb.Fatalf("%v: %v\n%s", args, err, text[:min(len(text), 4000)])
	}
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peakMemory(cmd.ProcessState)
}

// counts are those of the stand-in.
func (m *manyAccounts) counts() (c standInCounts) {
	m.tb.Helper()
	resp, err := http.Get(m.base + standInStats)
	must(m.tb, err)
	defer resp.Body.Close()
	must(m.tb, json.NewDecoder(resp.Body).Decode(&c))
	return c
}
