package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// told are the lines of a standard error that is to be JSON; each must have a time, a
// level and a msg.
func told(t *testing.T, stderr string) (lines []map[string]any) {
	t.Helper()
	for text := range strings.Lines(stderr) {
		line := map[string]any{}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Errorf("a line is no JSON object: %q", text)
			continue
		}
		at, _ := line["time"].(string)
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil || line["level"] == nil || line["msg"] == nil || line["msg"] == "" {
			t.Errorf("a line lacks its time, level or msg: %q", text)
		}
		lines = append(lines, line)
	}
	return lines
}

// With JSON asked for in any way, every line of every command is a JSON object.
func TestEveryLineIsJSON(t *testing.T) {
	t.Parallel()
	good, bad := leads(3), append(leads(2), "lsq,revoke,lead,1,x,"+guidOf('u', 1)+",read", "lsq,grab,lead,7,,,")
	for _, tc := range []struct {
		name string
		rows []string
		args []string
		env  map[string]string
		conf string // in place of the rig's
		code int
		msgs []string // some of the lines
	}{
		{name: "good", rows: good, args: []string{"run", "off.csv", "--progress", "always"}, msgs: []string{"sheet read", "progress", "run ended"}},
		{name: "invalid rows", rows: bad, args: []string{"run", "off.csv"}, code: 2, msgs: []string{"invalid row", "error", "run ended"}},
		{name: "invalid rows skipped", rows: bad, args: []string{"run", "off.csv", "--skip-invalid"}, code: 1, msgs: []string{"run ended"}},
		{name: "no sheet", args: []string{"run", "none.csv"}, code: 2, msgs: []string{"error", "run ended"}},
		{name: "no argument", args: []string{"run"}, code: 2, msgs: []string{"error", "run ended"}},
		{name: "unknown flag", args: []string{"run", "--bogus", "off.csv"}, code: 2, msgs: []string{"error", "run ended"}},
		{name: "wrong value of a flag", args: []string{"run", "--limit", "many", "off.csv"}, code: 2, msgs: []string{"error", "run ended"}},
		{name: "unknown command", args: []string{"rum", "off.csv"}, code: 2, msgs: []string{"error"}},
		{name: "an account whose keys are missing", rows: good, args: []string{"run", "off.csv"}, env: map[string]string{"RIG_ACCESS": ""}, code: 2, msgs: []string{"error", "run ended"}},
		{name: "a wrong configuration", rows: good, args: []string{"run", "off.csv"}, conf: "log-format: json\nno-such: 1\n", code: 2, msgs: []string{"error", "run ended"}},
		{name: "a configuration that is no YAML", rows: good, args: []string{"run", "off.csv"}, conf: "log-format: json\naccounts:\n\tlsq:\n", code: 2, msgs: []string{"error", "run ended"}},
		{name: "unknown variable", rows: good, args: []string{"run", "off.csv", "--log-level", "debug"}, env: map[string]string{"BULKREVOKE_NO_SUCH": "1"}, msgs: []string{"run ended"}},
		{name: "errors only", rows: bad, args: []string{"run", "off.csv", "--quiet"}, code: 2, msgs: []string{"invalid row", "error"}},
		{name: "plan", rows: good, args: []string{"plan", "off.csv"}, msgs: []string{"sheet read"}},
		{name: "dry run", rows: good, args: []string{"run", "--dry-run", "off.csv"}, msgs: []string{"sheet read"}},
		{name: "results", args: []string{"results", "off.csv"}, code: 2, msgs: []string{"error"}},
		{name: "verify", args: []string{"verify", "off.csv"}, code: 2, msgs: []string{"error"}},
		{name: "undo", args: []string{"undo", "off.csv"}, code: 2, msgs: []string{"error"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			for name, value := range tc.env {
				r.env[name] = value
			}
			if tc.rows != nil {
				r.sheet(tc.rows...)
			}
			args := slices.Clone(tc.args)
			if i := slices.Index(args, "off.csv"); i >= 0 {
				args[i] = r.path("off.csv")
			}
			flag := append(slices.Clone(args), "--log-format", "json")
			if tc.name == "unknown command" {
				flag = append([]string{args[0]}, "--log-format=json")
			}
			for way, words := range map[string][]string{"flag": flag, "environment": args, "configuration": args} {
				r.configure(rigConfig + "\n" + map[string]string{"configuration": "log-format: json\n"}[way])
				if tc.conf != "" {
					r.configure(tc.conf)
				}
				delete(r.env, "BULKREVOKE_LOG_FORMAT")
				if way == "environment" {
					r.env["BULKREVOKE_LOG_FORMAT"] = "json"
				}
				got := r.run(words...)
				lines := told(t, got.stderr)
				if got.code != tc.code {
					t.Errorf("%s: ended with %d, want %d:\n%s", way, got.code, tc.code, got.stderr)
				}
				for _, msg := range tc.msgs {
					if !slices.ContainsFunc(lines, func(line map[string]any) bool { return line["msg"] == msg }) {
						t.Errorf("%s: no line %q in\n%s", way, msg, got.stderr)
					}
				}
				checkLastLines(t, way, lines, tc.code, slices.Contains(tc.msgs, "run ended"))
			}
		})
	}
}

// checkLastLines holds what is said at the end to the contract.
func checkLastLines(t *testing.T, way string, lines []map[string]any, code int, ended bool) {
	t.Helper()
	if ended {
		last := lines[len(lines)-1]
		counts, _ := last["counts"].(map[string]any)
		_, next := last["next"].([]any)
		_, calls := last["calls"].(float64)
		if last["msg"] != "run ended" || last["exit_code"] != float64(code) || counts == nil || !next || !calls {
			t.Errorf("%s: the last line is %v", way, last)
		}
	}
	for _, line := range lines {
		switch line["msg"] {
		case "error":
			if line["level"] != "ERROR" || line["error"] == "" || line["exit_code"] != float64(code) {
				t.Errorf("%s: the refusal is %v", way, line)
			}
		case "invalid row":
			if n, _ := line["line"].(float64); n < 2 || line["column"] == nil || line["value"] == nil || line["error"] == "" || line["level"] != "ERROR" {
				t.Errorf("%s: an invalid row is %v", way, line)
			}
		case "progress":
			for _, name := range []string{"rows", "finished", "failed", "calls"} {
				if _, ok := line[name].(float64); !ok {
					t.Errorf("%s: progress has no number %s: %v", way, name, line)
				}
			}
		}
	}
}

// The other commands after a run, an undo, and a run that is interrupted.
func TestEveryLineIsJSONAfterARun(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.env["BULKREVOKE_LOG_FORMAT"] = "json"
	path := r.sheet(leads(3)...)
	told(t, r.runs(exitDone, "run", path).stderr)
	for _, tc := range []struct {
		args    []string
		msg     string
		figures map[string]any // of that line
	}{
		{[]string{"results", path}, "results written", map[string]any{"rows": 3.0, "file": r.path("off.results.csv")}},
		{[]string{"results", "--open", path, "-o", r.path("open.csv")}, "open rows written", map[string]any{"rows": 0.0}},
		{[]string{"verify", path}, "verified", map[string]any{"rows": 3.0, "hold": 3.0, "hold_no_longer": 0.0, "never_done": 0.0, "unknown": 0.0, "chain_whole": true}},
		{[]string{"undo", path}, "undo written", map[string]any{"rows": 3.0, "file": r.path("off.undo.csv")}},
		{[]string{"plan", path}, "sheet read", map[string]any{"rows": 3.0}},
	} {
		got := r.run(tc.args...)
		if got.code != exitDone {
			t.Errorf("%v ended with %d", tc.args, got.code)
		}
		lines := told(t, got.stderr)
		i := slices.IndexFunc(lines, func(line map[string]any) bool { return line["msg"] == tc.msg })
		if i < 0 {
			t.Errorf("%v: no line %q in\n%s", tc.args, tc.msg, got.stderr)
			continue
		}
		for name, want := range tc.figures {
			if lines[i][name] != want {
				t.Errorf("%v: %s is %v, want %v", tc.args, name, lines[i][name], want)
			}
		}
	}
	told(t, r.runs(exitDone, "results", "--open", path).stderr)
	r.sheet(leads(6)...)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&signalError{os.Interrupt})
	got := r.runUnder(ctx, "run", path)
	// The sheet may be read meanwhile; it is told before anything else that comes of it.
	lines := slices.DeleteFunc(told(t, got.stderr), func(line map[string]any) bool { return line["msg"] == "sheet read" })
	if got.code != exitInterrupt || len(lines) == 0 || lines[0]["msg"] != "interrupted" || lines[0]["open_calls"] != 0.0 {
		t.Errorf("ended with %d and says first %v", got.code, lines)
	}
}

// At the question on a terminal, the plan and the question are JSON too.
func TestTheQuestionIsJSON(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	o := &outside{stdin: strings.NewReader("n\n"), env: r.env, terminal: true}
	code := o.execute(t.Context(), "run", r.sheet(leads(3)...), "--log-format", "json")
	var msgs []string
	for _, line := range told(t, o.stderr.String()) {
		msgs = append(msgs, fmt.Sprint(line["msg"]))
	}
	if code != exitRefused || !slices.Contains(msgs, "plan") || !slices.Contains(msgs, "question") {
		t.Errorf("ended with %d after %q", code, msgs)
	}
	if left, err := filepath.Glob(r.path("*.results.csv")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A CRM that sends bytes which nobody has asked for writes nothing on standard error:
// net/http would show them there, in a line that is no JSON and past all redaction.
func TestBytesOnAnIdleConnectionAreNotShown(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, req)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			body := answer.Body.String()
			fmt.Fprintf(conn, "HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", answer.Code, len(body), body)
			time.Sleep(5 * time.Millisecond) // the client has put the connection aside
			fmt.Fprint(conn, "token=not-asked-for\r\n")
		})
	})
	r.sheet(leads(3)...)
	p := r.start("run", "off.csv", "--log-format", "json")
	if code := p.wait(); code != exitDone {
		t.Errorf("ended with %d", code)
	}
	told(t, p.stderr.String())
	if strings.Contains(p.stderr.String(), "not-asked-for") {
		t.Errorf("shows what nobody has asked for:\n%s", p.stderr.String())
	}
}
