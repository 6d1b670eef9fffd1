//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

var stops = []struct {
	signal syscall.Signal
	code   int
}{{syscall.SIGINT, exitInterrupt}, {syscall.SIGTERM, exitTerminated}}

// A signal stops the intake; the calls that are open are finished, and the result
// tells of every row.
func TestSignalLetsOpenCallsFinish(t *testing.T) {
	t.Parallel()
	for _, stop := range stops {
		t.Run(stop.signal.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.seedQuote(1, 1, 2)
			for _, op := range []string{"EntityAccess.Revoke", "Zoho.Share.Put"} {
				r.server.Fault(sandbox.Fault{Op: op, Kind: sandbox.FaultSlow, Delay: time.Second})
			}
			path := r.sheet(append(leads(20), quote("revoke", 1, 1))...)
			p := r.start("run", "--workers", "2", path)
			until(t, "not three calls in flight", func() bool { return r.changes() == 3 })
			must(t, p.cmd.Process.Signal(stop.signal))
			if code := p.wait(); code != stop.code {
				t.Errorf("ended with %d, want %d:\n%s", code, stop.code, p.stderr.String())
			}
			if r.count("accepted") != 3 || r.count("not_attempted") != 18 || r.changes() != 3 {
				t.Errorf("results %v after %d changes, want the open calls finished and no other", r.words("result"), r.changes())
			}
			r.checkLedger("off.ledger.db")
			r.server.ClearFaults()
			r.runs(exitDone, "run", path)
			if r.changes() != 21 {
				t.Errorf("%d changes for 21 rows", r.changes())
			}
		})
	}
}

// A signal ends the pauses: that of a refused account, that of a busy record and
// that between repeats.
func TestSignalEndsPauses(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sandbox.Fault{
		"rate limit":  {Op: "EntityAccess.Revoke", Kind: sandbox.FaultThrottle, Header: map[string]string{"Retry-After": "600"}},
		"stand by":    {Op: "EntityAccess.Revoke", Kind: sandbox.FaultVerbatim, Status: 503, Header: map[string]string{"Retry-After": "600"}},
		"busy record": {Op: "Zoho.Share.Get", Kind: sandbox.FaultException, Type: "NOT_ALLOWED", Text: "Scheduler is running", Status: 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.seedQuote(1, 1, 2)
			r.server.Fault(fault)
			row := lead("revoke", 1)
			if name == "busy record" {
				row = quote("revoke", 1, 1)
			}
			p := r.start("run", r.sheet(row))
			met := func() bool {
				for _, a := range r.server.Arrivals() {
					if a.Op == fault.Op {
						return true
					}
				}
				return false
			}
			until(t, "the fault was not met", met)
			time.Sleep(100 * time.Millisecond)
			must(t, p.cmd.Process.Signal(syscall.SIGTERM))
			if code := p.wait(); code != exitTerminated { // wait is far shorter than the pauses
				t.Errorf("ended with %d, want %d:\n%s", code, exitTerminated, p.stderr.String())
			}
			want := "not_attempted"
			if name == "stand by" {
				want = "in_doubt" // a 503 does not say whether the change was made
			}
			if r.count(want) != 1 {
				t.Errorf("results %v, want %s", r.words("result"), want)
			}
		})
	}
}

// A second signal ends the process at once; the ledger is whole and the next run
// goes on.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultHang, Processed: true, Times: 2})
	path := r.sheet(leads(5)...)
	p := r.start("run", "--workers", "2", path)
	until(t, "not two calls in flight", func() bool { return r.changes() == 2 })
	must(t, p.cmd.Process.Signal(syscall.SIGINT))
	time.Sleep(300 * time.Millisecond)
	must(t, p.cmd.Process.Signal(syscall.SIGINT))
	if code := p.wait(); code != -1 { // once the open calls have ended, it would be 130
		t.Errorf("ended with %d, want the signal to end it", code)
	}
	first := "interrupted: 2 calls are still open, waiting at most 25s for them; Ctrl-C again ends now (their rows are then looked up or in doubt)\n"
	if said := p.stderr.String(); !strings.Contains(said, first) || !strings.HasSuffix(said, "ended at once; run the same command to go on\n") {
		t.Errorf("it said:\n%s", said)
	}
	if intents := r.checkLedger("off.ledger.db"); intents != 2 {
		t.Errorf("the ledger has %d intents, want 2", intents)
	}
	r.runs(exitDone, "run", path)
	if r.changes() != 7 {
		t.Errorf("%d changes, want the two without an answer repeated", r.changes())
	}
}

// A call that hangs holds nobody up for more than 25 s after the signal.
func TestOpenCallsEndWithin25Seconds(t *testing.T) {
	t.Parallel()
	for _, kind := range []sandbox.FaultKind{sandbox.FaultHang, sandbox.FaultTrickle} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, sandbox.Config{}, transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 1})
				e.addZoho()
				inGroup := crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: guidOf('e', 1), User: guidOf('u', 1)}
				e.server.Seed(inGroup)
				for _, u := range []int{1, 2} {
					e.server.AddUser(crm.User{ID: zohoUser(u), Active: true}, "Standard")
				}
				e.server.SeedZoho("Quotes", zohoRecord(1), crm.Grant{Kind: "user", ID: zohoUser(1), Access: crm.Read, Type: "private"},
					crm.Grant{Kind: "user", ID: zohoUser(2), Access: crm.Read, Type: "private"})
				e.server.Fault(sandbox.Fault{Kind: kind, Op: "EntityAccess.Revoke", Delay: time.Second})
				e.server.Fault(sandbox.Fault{Kind: kind, Op: "UserGroup.RemoveUsers", Delay: time.Second})
				e.server.Fault(sandbox.Fault{Kind: kind, Op: "Zoho.Share.Put", Delay: time.Second})
				ctx, cancel := context.WithCancelCause(t.Context())
				var at time.Time
				go func() {
					time.Sleep(3 * time.Second)
					at = time.Now()
					cancel(errors.New("stop"))
				}()
				s := e.run(ctx, leadRevokes(10)+fmt.Sprintf("revoke,sales_group,%s,,%s,\nrevoke,Quotes,%s,,%s,\n", inGroup.Record, inGroup.User, zohoRecord(1), zohoUser(1)))
				if took := time.Since(at); took > 25*time.Second {
					t.Errorf("took %v to end after the signal", took)
				}
				// After a PUT that may have taken the record from bystanders a look is taken yet,
				// which may show its row done.
				if s.Stopped == nil || s.Counts.Rows != 12 || s.Counts.Done > 1 {
					t.Errorf("counts %+v, stopped by %v", s.Counts, s.Stopped)
				}
			})
		})
	}
}

// smallDisk returns a command that runs the program where there is little room for
// files, and the folder to run it in: on a file system of its own if this user may
// make one, else under a limit to the size of a file.
func (r *rig) smallDisk(kilobytes int) (folder string, command func(args ...string) *exec.Cmd) {
	r.t.Helper()
	path, err := program()
	must(r.t, err)
	folder = r.path("disk")
	must(r.t, os.Mkdir(folder, 0o700))
	r.t.Cleanup(func() { _ = os.Chmod(folder, 0o700) })
	if err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dk,mode=0700", kilobytes), "tmpfs", folder).Run(); err == nil {
		r.t.Cleanup(func() { must(r.t, exec.Command("umount", "-l", folder).Run()) })
		return folder, func(args ...string) *exec.Cmd { return exec.Command(path, args...) }
	}
	r.t.Log("no file system can be mounted here: a limit to the size of files stands in for a small disk")
	return folder, func(args ...string) *exec.Cmd {
		script := fmt.Sprintf("ulimit -f %d; exec \"$0\" \"$@\"", kilobytes*2)
		return exec.Command("sh", append([]string{"-c", script, path}, args...)...)
	}
}

// A disk that is full at the start refuses the run, and nothing was sent.
func TestDiskFullAtTheStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	folder, command := r.smallDisk(24)
	p := r.startCommand(command("run", r.sheet(leads(400)...), "-o", filepath.Join(folder, "o.csv"), "--ledger", filepath.Join(folder, "o.ledger.db")))
	if code := p.wait(); code != exitRefused {
		t.Errorf("ended with %d, want %d:\n%s", code, exitRefused, p.stderr.String())
	}
	if !strings.Contains(p.stderr.String(), "room on the disk") || r.changes() != 0 {
		t.Errorf("after %d changes the refusal says:\n%s", r.changes(), p.stderr.String())
	}
}

// A disk on which not even the note of who holds a lock finds room refuses the run, and
// says what could stand elsewhere.
func TestDiskFullForTheLocks(t *testing.T) {
	t.Parallel()
	for name, hint := range map[string]string{"ledger": "with --ledger", "state": "BULKREVOKE_STATE"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			folder, command := r.smallDisk(64)
			args, problem := []string{"run", r.sheet(leads(1)...)}, "no space left"
			if name == "ledger" {
				args = append(args, "--ledger", filepath.Join(folder, "o.ledger.db"))
			} else {
				r.env["BULKREVOKE_STATE"] = filepath.Join(folder, "state")
			}
			if exec.Command("mountpoint", "-q", folder).Run() == nil {
				for n, full := 0, false; !full; n++ {
					full = os.WriteFile(filepath.Join(folder, fmt.Sprintf("fill%d", n)), make([]byte, 4096), 0o600) != nil
				}
			} else {
				// A limit to the size of files leaves room for a note. A folder that is not
				// empty where the note is to stand has none.
				problem, command = "can not be written", func(args ...string) *exec.Cmd {
					path, err := program()
					must(t, err)
					return exec.Command(path, args...)
				}
				notes := []string{filepath.Join(folder, "o.ledger.db.lock.holder")}
				if name == "state" {
					r.runs(exitDone, args...)
					var err error
					notes, err = filepath.Glob(filepath.Join(folder, "state", "*", "lock"))
					must(t, err)
					for i := range notes {
						notes[i] += ".holder"
					}
				}
				if len(notes) == 0 {
					t.Fatal("nothing is locked")
				}
				for _, note := range notes {
					must(t, os.MkdirAll(filepath.Join(note, "in the way"), 0o700))
				}
			}
			sent := r.changes()
			p := r.startCommand(command(args...))
			code, said := p.wait(), p.stderr.String()
			if code != exitRefused || r.changes() != sent || !strings.Contains(said, problem) || !strings.Contains(said, "bulkrevoke: hint: Make room there. ") || !strings.Contains(said, hint) {
				t.Errorf("ended with %d after %d changes:\n%s", code, r.changes(), said)
			}
		})
	}
}

// A disk that is full where only one of the files stands is found before anything is
// sent, by writing there, and by about as much as the result will take.
func TestDiskFullWhereOneFileStands(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, flag, file string
		kilobytes, rows  int
	}{
		{"result", "-o", "o.csv", 24, 3},
		{"long result", "-o", "o.csv", 260, 1500},
		{"workbook", "-o", "o.xlsx", 24, 3},
		{"report", "--report", "r.html", 24, 3},
		{"summary", "--summary", "s.json", 24, 3},
		{"metrics", "--metrics-file", "m.prom", 24, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			folder, command := r.smallDisk(tc.kilobytes)
			path := r.sheet(leads(tc.rows)...)
			p := r.startCommand(command("run", path, tc.flag, filepath.Join(folder, tc.file), "--ledger", r.path("off.ledger.db")))
			if code := p.wait(); code != exitRefused || r.changes() != 0 {
				t.Errorf("ended with %d after %d changes, want %d and none", code, r.changes(), exitRefused)
			}
			words := []string{folder, "takes no file of", "no space left", tc.flag}
			if exec.Command("mountpoint", "-q", folder).Run() != nil {
				words = nil // a limit to the size of files is met by the ledger first
			}
			for _, part := range words {
				if !strings.Contains(p.stderr.String(), part) {
					t.Errorf("it does not say %q:\n%s", part, p.stderr.String())
				}
			}
			entries, err := os.ReadDir(folder)
			must(t, err)
			if len(entries) > 0 {
				t.Errorf("%s was left behind", entries[0].Name())
			}
		})
	}
}

// A disk that fills up during the run stops it: no change is sent without a durable
// intent, and with room again the next run does the rest.
func TestDiskFullDuringTheRun(t *testing.T) {
	t.Parallel()
	const rows = 400
	r := newRig(t, sandbox.Config{})
	folder, command := r.smallDisk(1200)
	path := r.sheet(leads(rows)...)
	args := []string{"run", path, "-o", filepath.Join(folder, "o.csv"), "--ledger", filepath.Join(folder, "o.ledger.db")}
	p := r.startCommand(command(args...))
	if code := p.wait(); code != exitStopped {
		t.Fatalf("ended with %d, want %d:\n%s", code, exitStopped, p.stderr.String())
	}
	if !strings.Contains(p.stderr.String(), "room on the disk") {
		t.Errorf("it says:\n%s", p.stderr.String())
	}
	// What is left waits for the disk, and for no other row; the error is told once.
	if said := p.stderr.String(); !strings.Contains(said, "not attempted: run again to go on") || strings.Contains(said, "an earlier row") ||
		strings.Count(said, "\nbulkrevoke: error: ") != 1 || strings.Contains(said, "\nstopped: ") {
		t.Errorf("it says of what is left:\n%s", said)
	}
	sent := r.changes()
	if sent == 0 || sent >= rows {
		t.Fatalf("%d of %d changes were sent: the disk was not full in the middle of the run", sent, rows)
	}
	// The same files on a disk with room.
	for _, suffix := range ledgerFiles {
		data, err := os.ReadFile(filepath.Join(folder, "o.ledger.db"+suffix))
		if err == nil {
			must(t, os.WriteFile(r.path("o.ledger.db"+suffix), data, 0o600))
		}
	}
	if intents := r.checkLedger("o.ledger.db"); intents < sent {
		t.Errorf("%d changes were sent and %d announced", sent, intents)
	}
	r.runs(exitDone, "run", path, "-o", r.path("o.csv"), "--ledger", r.path("o.ledger.db"))
	repeated := 0
	for _, row := range r.results("o.csv") {
		if row["result"] != "done" {
			t.Errorf("line %s is %s", row["line"], row["result"])
		}
		if strings.Contains(row["message"], "sent again") {
			repeated++
		}
	}
	if n := r.changes(); n > rows+repeated {
		t.Errorf("%d changes for %d rows, of which %d say that they were sent again", n, rows, repeated)
	}
}

// A folder that can not be written to refuses the run, and nothing was sent.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	folder, command := r.smallDisk(500)
	path := r.sheet(leads(3)...)
	args := []string{"run", path, "-o", filepath.Join(folder, "o.csv"), "--ledger", filepath.Join(folder, "o.ledger.db")}
	// Empty, and with the ledger of a run that was there before.
	for n, before := range []func(){func() {}, func() {
		if folder == "/proc" {
			return
		}
		must(t, r.remount(folder, "rw"))
		r.runs(exitDone, args...)
	}} {
		before()
		must(t, r.remount(folder, "ro"))
		if probe := filepath.Join(folder, "probe"); os.WriteFile(probe, nil, 0o600) == nil {
			// A superuser who may mount nothing writes to any folder but the system's own.
			must(t, os.Remove(probe))
			folder = "/proc"
			args = []string{"run", path, "-o", "/proc/o.csv", "--ledger", "/proc/o.ledger.db"}
			if n > 0 {
				return
			}
		}
		sent := r.changes()
		r.sheet(leads(5)...)
		p := r.startCommand(command(args...))
		if code := p.wait(); code != exitRefused {
			t.Errorf("%d: ended with %d, want %d:\n%s", n, code, exitRefused, p.stderr.String())
		}
		if r.changes() != sent {
			t.Errorf("%d changes were sent", r.changes()-sent)
		}
		r.sheet(leads(3)...)
	}
}

// remount makes a folder of smallDisk one that can be read only, or written again.
func (r *rig) remount(folder, how string) error {
	if exec.Command("mount", "-o", "remount,"+how, folder).Run() == nil {
		return nil
	}
	return os.Chmod(folder, map[string]os.FileMode{"ro": 0o500, "rw": 0o700}[how])
}
