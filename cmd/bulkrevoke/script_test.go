package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// TestScripts runs the scripts in testdata/script. Each has a CRM of its own in
// $LEADSQUARED_HOST, without a rate limit, a state folder of its own, and the
// samples in samples/. Beside testscript's commands there are:
//
//	exits N command...   run a command that ends with exit code N
//	requests N           the CRM has accepted N changes so far
//	shares N             N shares are in force
//	seed JSON            make the world in which an operation is worth doing
//	fault JSON           let something go wrong at the CRM
//	heal                 no faults from now on
//	awaits N             wait until the CRM has accepted N changes
//	mode MODE FILE       FILE has the permissions MODE
//	expand FILE          put the environment's values into FILE
//	glob N PATTERN       N files have a name like this
//	only FILE...         the script's folder holds these files, samples and state
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Join("testdata", "script"),
		Setup: setUpScript,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    scriptExits,
			"requests": scriptRequests,
			"shares":   scriptShares,
			"seed":     func(ts *testscript.TestScript, _ bool, args []string) { scriptControl(ts, "POST", "seed", args) },
			"fault":    func(ts *testscript.TestScript, _ bool, args []string) { scriptControl(ts, "POST", "faults", args) },
			"heal":     func(ts *testscript.TestScript, _ bool, args []string) { scriptControl(ts, "DELETE", "faults", args) },
			"awaits":   scriptAwaits,
			"mode":     scriptMode,
			"only":     scriptOnly,
			"expand":   scriptExpand,
			"glob":     scriptGlob,
		},
	})
}

// serverKey finds a script's CRM among its values.
type serverKey struct{}

func setUpScript(env *testscript.Env) error {
	server, err := sandbox.New(sandbox.Config{Limit: -1})
	if err != nil {
		return err
	}
	base, stop, err := sandbox.Listen("", server)
	if err != nil {
		return err
	}
	env.Defer(func() {
		stop()
		_ = server.Close()
	})
	env.Values[serverKey{}] = server
	env.Setenv("LEADSQUARED_HOST", base)
	env.Setenv("LEADSQUARED_ACCESS_KEY", "script-access-key")
	env.Setenv("LEADSQUARED_SECRET_KEY", "script-secret-key")
	env.Setenv("BULKREVOKE_STATE", filepath.Join(env.WorkDir, "state"))
	env.Setenv("BULKREVOKE_LIMIT", "1000/1s")
	env.Setenv("BULKREVOKE_PROGRESS", "never")
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	return copySamples(filepath.Join(env.WorkDir, "samples"))
}

func server(ts *testscript.TestScript) *sandbox.Server {
	return ts.Value(serverKey{}).(*sandbox.Server)
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exited.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code is %d, want %s", code, args[0])
	}
}

// number reads the only argument of a command.
func number(ts *testscript.TestScript, args []string) int {
	if len(args) != 1 {
		ts.Fatalf("the command takes a number")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	return n
}

func scriptRequests(ts *testscript.TestScript, _ bool, args []string) {
	if got, want := len(server(ts).Requests()), number(ts, args); got != want {
		ts.Fatalf("the CRM has accepted %d changes, want %d", got, want)
	}
}

func scriptShares(ts *testscript.TestScript, _ bool, args []string) {
	if got, want := server(ts).Shares(), number(ts, args); len(got) != want {
		ts.Fatalf("%d shares are in force, want %d: %v", len(got), want, got)
	}
}

func scriptAwaits(ts *testscript.TestScript, _ bool, args []string) {
	want := number(ts, args)
	for deadline := time.Now().Add(30 * time.Second); len(server(ts).Requests()) < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("the CRM has accepted %d changes after 30 s, want %d", len(server(ts).Requests()), want)
		}
	}
}

// scriptControl uses one of the sandbox's own paths.
func scriptControl(ts *testscript.TestScript, method, path string, args []string) {
	body := strings.Join(args, " ")
	req, err := http.NewRequest(method, ts.Getenv("LEADSQUARED_HOST")+"/_sandbox/"+path, bytes.NewReader([]byte(body)))
	ts.Check(err)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		var text bytes.Buffer
		_, _ = text.ReadFrom(resp.Body)
		ts.Fatalf("%s %s: %s %s", method, path, resp.Status, text.String())
	}
}

func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: mode MODE FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

func scriptExpand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

func scriptGlob(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: glob N PATTERN")
	}
	found, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	if want := number(ts, args[:1]); len(found) != want {
		ts.Fatalf("%d files are like %s, want %d: %v", len(found), args[1], want, found)
	}
}

// asideStamp is the time in the name of a file that was set aside.
var asideStamp = regexp.MustCompile(`\.\d{8}T\d{6}Z(-\d+)?\.`)

func scriptOnly(ts *testscript.TestScript, _ bool, args []string) {
	want := map[string]bool{"samples": true, "state": true, "home": true, ".tmp": true}
	for _, name := range args {
		want[name] = true
		if _, err := os.Lstat(ts.MkAbs(name)); err != nil && !strings.Contains(name, "STAMP") {
			ts.Fatalf("%s is missing", name)
		}
	}
	entries, err := os.ReadDir(ts.MkAbs("."))
	ts.Check(err)
	seen := map[string]bool{}
	for _, e := range entries {
		name := asideStamp.ReplaceAllString(e.Name(), ".STAMP.")
		seen[name] = true
		if !want[name] {
			ts.Fatalf("%s was left behind", e.Name())
		}
	}
	for _, name := range args {
		if !seen[name] {
			ts.Fatalf("%s is missing", name)
		}
	}
}
