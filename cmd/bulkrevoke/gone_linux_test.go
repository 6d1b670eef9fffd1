package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	must(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	return master, terminal
}

// A terminal that is closed ends the run that it controls as a signal does, with its
// result; it ends nothing of one that another session has started on it.
func TestTerminalIsClosed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		controlled bool
		code, done int
	}{{"controlling", true, exitHangup, 1}, {"of another session", false, exitDone, 3}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultSlow, Delay: time.Second, Times: 1})
			path, err := program()
			must(t, err)
			master, terminal := openTerminal(t)
			defer terminal.Close()
			cmd := exec.Command(path, "run", "--yes", "--progress", "always", "--workers", "1", r.sheet(leads(3)...))
			cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: tc.controlled}
			p := r.startCommand(cmd)
			must(t, terminal.Close())
			until(t, "nothing was sent", func() bool { return r.changes() > 0 })
			must(t, master.Close())
			if code := p.wait(); code != tc.code {
				t.Errorf("ended with %d, want %d", code, tc.code)
			}
			if n := r.count("done") + r.count("accepted"); n != tc.done {
				t.Errorf("%d rows were carried out, want %d", n, tc.done)
			}
		})
	}
}

// Ctrl-C at the question and while another run holds the ledger is answered too.
func TestCtrlCIsAnsweredBeforeTheRun(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		waits   string // what is on the screen when the key is pressed
		prepare func(r *rig)
		args    []string
	}{
		{"question", "[y/N] ", func(*rig) {}, nil},
		{"lock", "level=", func(r *rig) {
			r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultHang})
			r.start("run", r.path("off.csv"))
			until(t, "the other run does not work", func() bool { return r.changes() > 0 })
		}, []string{"--wait", "1m", "--progress", "always"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path, err := program()
			must(t, err)
			sheet := r.sheet(leads(3)...)
			tc.prepare(r)
			master, terminal := openTerminal(t)
			defer master.Close()
			cmd := exec.Command(path, append([]string{"run", sheet}, tc.args...)...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			p := r.startCommand(cmd)
			must(t, terminal.Close())
			said := make(chan string, 1)
			shown := bufio.NewReader(master)
			if tc.name == "question" {
				for text := ""; !strings.Contains(text, tc.waits); {
					b, err := shown.ReadByte()
					must(t, err)
					text += string(b)
				}
			} else {
				time.Sleep(500 * time.Millisecond)
			}
			go func() {
				var text strings.Builder
				_, _ = shown.WriteTo(&text)
				said <- text.String()
			}()
			_, err = master.WriteString("\x03")
			must(t, err)
			if code := p.wait(); code != exitInterrupt {
				t.Errorf("ended with %d, want %d", code, exitInterrupt)
			}
			if text := <-said; !strings.Contains(text, "\ninterrupted: no call is open, ending now\r\n") && tc.name == "question" || !strings.Contains(text, "interrupted: no call is open, ending now\r\n") {
				t.Errorf("it says %q", text)
			}
		})
	}
}
