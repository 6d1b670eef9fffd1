package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// peak waits for a process and returns its exit code and the most memory, in
// kilobytes, that was resident; 0 where the system does not tell. The figure that
// wait gives would be that of the test too, which the process was forked from.
func (p *process) peak() (code, kilobytes int) {
	done := make(chan int)
	go func() { done <- p.wait() }()
	for {
		select {
		case code = <-done:
			return code, kilobytes
		case <-time.After(2 * time.Millisecond):
			kilobytes = max(kilobytes, residentPeak(p.cmd.Process.Pid, p.cmd.Path))
		}
	}
}

// residentPeak reads it from Linux's /proc, once the process is the program.
func residentPeak(pid int, path string) int {
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || exe != path {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.Atoi(number)
	return n
}

// A body of 1 GiB and a bomb of compressed zeros, in place of whatever answer, cost
// no more than 16 MiB beside what a good run costs.
func TestHugeAnswersTakeLittleMemory(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, fault *sandbox.Fault) (code, kilobytes int) {
		t.Helper()
		r := newRig(t, sandbox.Config{})
		r.seedQuote(1, 1, 2)
		r.seedGroup(1, 1)
		if fault != nil {
			r.server.Fault(*fault)
		}
		rows := append(leads(8), quote("revoke", 1, 1), strings.Replace(member("revoke", 1, 1), guidOf('u', 1), "u1@rig.example", 1))
		return r.start("run", "--confirm-timeout", "1s", r.sheet(rows...)).peak()
	}
	code, good := run(t, nil)
	if code != exitDone {
		t.Fatalf("a good run ended with %d", code)
	}
	c := newCrowd(t)
	defer c.wait()
	for _, op := range []string{"EntityAccess.Revoke", "EntityAccess.Status", "Users.Get", "Zoho.Share.Get", "Zoho.Users", "Zoho.Token"} {
		for _, kind := range []sandbox.FaultKind{sandbox.FaultHuge, sandbox.FaultGzipBomb} {
			c.run(fmt.Sprintf("%s %s", op, kind), func(t *testing.T) {
				code, kilobytes := run(t, &sandbox.Fault{Op: op, Kind: kind, Bytes: 1 << 30, Times: 2})
				t.Logf("exit %d, %d MiB, a good run %d MiB", code, kilobytes>>10, good>>10)
				if kilobytes > good+16<<10 {
					t.Errorf("%d KiB resident, a good run %d", kilobytes, good)
				}
				if code != exitDone && code != exitOpen && code != exitStopped {
					t.Errorf("ended with %d", code)
				}
			})
		}
	}
}

// So does a user list without an end: of one entry, or of very many.
func TestHugeUserListsTakeLittleMemory(t *testing.T) {
	t.Parallel()
	run := func(entry string) (code, kilobytes int) {
		r := newRig(t, sandbox.Config{}, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if entry == "" || !strings.HasSuffix(req.URL.Path, "/Users.Get") {
					h.ServeHTTP(w, req)
					return
				}
				chunk, sent := []byte(strings.Repeat(entry, 1+(64<<10)/len(entry))), 0
				_, err := io.WriteString(w, "["+map[bool]string{true: `{"ID":"`}[len(entry) == 1])
				for err == nil && sent < 1<<30 {
					_, err = w.Write(chunk)
					sent += len(chunk)
				}
			})
		})
		r.seedGroup(1, 1)
		row := strings.Replace(lead("revoke", 1), guidOf('u', 1), "u1@rig.example", 1)
		return r.start("run", r.sheet(row)).peak()
	}
	code, good := run("")
	if code != exitDone {
		t.Fatalf("a good run ended with %d", code)
	}
	for name, entry := range map[string]string{"one entry": "x", "many entries": `{"ID":"` + guidOf('u', 1) + `","EmailAddress":"u1@rig.example"},`} {
		code, kilobytes := run(entry)
		t.Logf("%s: exit %d, %d MiB, a good run %d MiB", name, code, kilobytes>>10, good>>10)
		if kilobytes > good+16<<10 {
			t.Errorf("%s: %d KiB resident, a good run %d", name, kilobytes, good)
		}
		if code != exitStopped {
			t.Errorf("%s: ended with %d, want %d", name, code, exitStopped)
		}
	}
}

// A redirect to another host is not followed: not a byte reaches it.
func TestRedirectReachesNobody(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	defer c.wait()
	for _, op := range []string{"Authentication", "EntityAccess.Revoke", "EntityAccess.Status", "Users.Get", "Zoho.Token", "Zoho.Users", "Zoho.Share.Get", "Zoho.Share.Put"} {
		for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
			c.run(fmt.Sprintf("%s %d", op, status), func(t *testing.T) {
				var met atomic.Int32
				elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
				must(t, err)
				t.Cleanup(func() { must(t, elsewhere.Close()) })
				go func() {
					for {
						conn, err := elsewhere.Accept()
						if err != nil {
							return
						}
						met.Add(1)
						_ = conn.Close()
					}
				}()
				r := newRig(t, sandbox.Config{})
				r.seedQuote(1, 1, 2)
				r.server.Fault(sandbox.Fault{Op: op, Kind: sandbox.FaultRedirect, Status: status, URL: "http://" + elsewhere.Addr().String() + "/take"})
				row := lead("revoke", 1)
				if strings.HasPrefix(op, "Zoho") {
					row = quote("revoke", 1, 1)
				}
				if op == "Users.Get" {
					row = strings.Replace(row, guidOf('u', 1), "somebody@rig.example", 1)
				}
				got := r.runs(exitStopped, "run", "--skip-invalid", r.sheet(row))
				if met.Load() > 0 {
					t.Errorf("%d connections to where it redirects", met.Load())
				}
				if !strings.Contains(got.stderr, "redirect") {
					t.Errorf("the summary says:\n%s", got.stderr)
				}
				if op == "EntityAccess.Status" {
					return // the change was accepted
				}
				if word := r.words("result")[0]; word == "done" || word == "accepted" {
					t.Errorf("the row is %s", word)
				}
			})
		}
	}
}

// A certificate that can not be trusted: not a byte of a request is sent.
func TestBadCertificateSendsNothing(t *testing.T) {
	t.Parallel()
	var met atomic.Int32
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { met.Add(1) }))
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	t.Cleanup(web.Close)
	r := newRig(t, sandbox.Config{})
	r.configure(strings.ReplaceAll(rigConfig, "BASE", web.URL))
	got := r.runs(exitStopped, "run", r.sheet(lead("revoke", 1), quote("revoke", 1, 1)))
	if met.Load() > 0 {
		t.Errorf("%d requests reached the server", met.Load())
	}
	if !strings.Contains(got.stderr, "certificate") || !strings.Contains(got.stderr, "ca_file") {
		t.Errorf("the summary says:\n%s", got.stderr)
	}
	if r.count("not_attempted") != 2 {
		t.Errorf("results %v", r.words("result"))
	}
}

// A gateway in front of the CRM that speaks no HTTP, or closes at once, loses no row
// and sends no share twice.
func TestServerThatSpeaksNoHTTP(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	defer c.wait()
	for name, answer := range map[string]string{"closes at once": "", "another protocol": "220 mail.example ESMTP\r\n", "endless header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 4<<20)} {
		c.run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			t.Cleanup(func() { must(t, listener.Close()) })
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						_, _ = conn.Read(make([]byte, 4096))
						_, _ = io.WriteString(conn, answer)
					}()
				}
			}()
			r := newRig(t, sandbox.Config{})
			r.configure(strings.ReplaceAll(rigConfig, "BASE", "http://"+listener.Addr().String()))
			r.runs(exitStopped, "run", r.sheet(lead("share", 1), quote("revoke", 1, 1)))
			if r.count("not_attempted") != 2 {
				t.Errorf("results %v", r.words("result"))
			}
		})
	}
}
