package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// What was claimed and never used stays as it was found: after a host that did not say goodbye,
// whoever comes next still has to be quiet.
func TestReleaseOfWhatWasNeverUsed(t *testing.T) {
	t.Parallel()
	d, err := fleet.Open(t.Context(), fleet.Config{URL: pgtest.Start(t).URL})
	must(t, err)
	defer d.Close()
	host, err := d.Join(t.Context(), "a")
	must(t, err)
	defer host.Leave(context.Background())
	keys := []string{"merged", "unused", "quiet"}
	unclean, err := host.Claim(t.Context(), keys, fleet.ClaimOptions{})
	must(t, err)
	must(t, unclean.Release(t.Context(), nil))

	c := &claims{host: host, of: map[string]*fleet.Claims{}, gates: map[string]*transport.Gate{"merged": nil}}
	must(t, c.take(t.Context(), connectOptions{}, map[string]string{"merged": "", "unused": "", "quiet": ""}))
	// It has taken over a call that was made before its organisation was known.
	c.gates["quiet"], err = transport.NewGate(transport.GateConfig{Limit: 5, Window: time.Second})
	must(t, err)
	slot, err := c.gates["quiet"].Acquire(t.Context())
	must(t, err)
	slot.Sent()
	slot.Done()
	c.from = map[string]time.Time{"quiet": time.Now().Add(time.Hour)}
	must(t, c.release()) // its gate could not be opened

	again, err := host.Claim(t.Context(), keys, fleet.ClaimOptions{})
	must(t, err)
	for _, key := range []string{"unused", "quiet"} {
		if !again.Get(key).Unclean {
			t.Errorf("%s: a goodbye was said for somebody else", key)
		}
	}
	if again.Get("merged").Unclean {
		t.Error("no goodbye was said for calls that count elsewhere")
	}
}

// Whatever keeps a host from a sheet, and has nothing to do with it, does not keep the sheet from
// being done.
func TestTroubleOfAHostIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		fmt.Errorf("claim: %w", fleet.ErrAway),
		databaseError(t.Context(), fmt.Errorf("join: %w", fleet.ErrAway)),
		refusef("", "the folder for temporary files: %w", syscall.ENOSPC),
		&fs.PathError{Op: "open", Path: "state", Err: syscall.EMFILE},
	} {
		j := &job{opts: newOptions()}
		if r := j.resultOf(t.Context(), err); r.Next.Kind != fleet.Unreachable {
			t.Errorf("%v: kind %d, want that it is tried again", err, r.Next.Kind)
		}
	}
	j := &job{opts: newOptions()}
	if r := j.resultOf(t.Context(), refusef("", "a column is missing")); r.Next.Kind != fleet.NeedsChange {
		t.Errorf("a sheet that is refused: kind %d", r.Next.Kind)
	}
	ended, cancel := context.WithTimeoutCause(t.Context(), -time.Second, errors.New("the host stops"))
	defer cancel()
	if r := j.resultOf(ended, fleet.ErrAway); r.Next.Kind != fleet.HandBack {
		t.Errorf("a host that stops: kind %d", r.Next.Kind)
	}
}

// Whoever waits for a ledger, while another one queues a sheet for it, changes nothing in it
// before that has ended.
func TestSubmitAfterAnotherOne(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t).URL
	d, err := fleet.Open(t.Context(), fleet.Config{URL: url})
	must(t, err)
	defer d.Close()
	host, err := d.Join(t.Context(), "other")
	must(t, err)
	defer host.Leave(context.Background())
	sheetName := filepath.Join(t.TempDir(), "leavers.csv")
	must(t, os.WriteFile(sheetName, []byte("action,object,record_id,user_email\nrevoke,lead,1,a@example.com\n"), 0o600))
	key := fleet.LedgerPrefix + "leavers"
	claimed, err := host.Claim(t.Context(), []string{key}, fleet.ClaimOptions{For: "another.csv"})
	must(t, err)

	var stderr strings.Builder
	code := make(chan int)
	a := newApp([]string{"submit", "--wait", sheetName, "--database", url}, strings.NewReader(""), &stderr, &stderr)
	go func() { code <- a.execute(t.Context()) }()
	for joined := false; !joined; time.Sleep(10 * time.Millisecond) { // then it waits for the ledger
		hosts, err := d.Hosts(t.Context())
		must(t, err)
		joined = len(hosts) == 2
	}
	must(t, d.Submit(t.Context(), fleet.Submission{Ledger: "leavers", Sheet: "another.csv", File: strings.NewReader("another")}))
	must(t, claimed.Release(t.Context(), map[string][]byte{key: nil}))
	host2, err := d.Join(t.Context(), "third") // who has the ledger as soon as it is free
	must(t, err)
	defer host2.Leave(context.Background())
	again, err := host2.Claim(t.Context(), []string{key}, fleet.ClaimOptions{Wait: time.Minute})
	must(t, err)
	ledgers, err := ledger.OpenDatabase(t.Context(), url, ledger.DatabaseOptions{})
	must(t, err)
	defer ledgers.Close()
	if names, err := ledgers.Names(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("the ledgers are %q (%v), want none", names, err)
	}
	must(t, again.Release(t.Context(), map[string][]byte{key: nil}))
	must(t, d.Cancel(t.Context(), "leavers"))
	if got := <-code; got != exitRefused || !strings.Contains(stderr.String(), "no account is configured") {
		t.Errorf("exit code %d, want %d\n%s", got, exitRefused, stderr.String())
	}
}
