package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// A terminal does not show the grant token, and shows again what is typed afterwards: after a
// Ctrl-C at the question too.
func TestLoginOnATerminal(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, typed string
		code        int
	}{{"token", "1000.grant-0123\n", exitDone}, {"Ctrl-C", "\x03", exitInterrupt}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newLoginRig(t, sandbox.ZohoConfig{})
			path, err := program()
			must(t, err)
			master, terminal := openTerminal(t)
			defer master.Close()
			defer terminal.Close()
			cmd := exec.Command(path, "login", "crm")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			p := r.startCommand(cmd)
			shown := bufio.NewReader(master)
			text := ""
			for !strings.Contains(text, "grant token (is not shown): ") {
				b, err := shown.ReadByte()
				must(t, err)
				text += string(b)
			}
			mute := func() bool {
				mode, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
				must(t, err)
				return mode.Lflag&unix.ECHO == 0
			}
			until(t, "the terminal shows what is typed", mute)
			_, err = master.WriteString(tc.typed)
			must(t, err)
			if code := p.wait(); code != tc.code {
				t.Errorf("ended with %d, want %d", code, tc.code)
			}
			if mute() {
				t.Error("the terminal is left mute")
			}
			must(t, terminal.Close())
			rest := make([]byte, 4096)
			n, _ := shown.Read(rest)
			if text += string(rest[:n]); strings.Contains(text, "1000.grant") {
				t.Errorf("the screen shows the token: %q", text)
			}
			if _, err := os.Stat(r.path("token")); (err == nil) != (tc.code == exitDone) {
				t.Errorf("the file of the token: %v", err)
			}
		})
	}
}
