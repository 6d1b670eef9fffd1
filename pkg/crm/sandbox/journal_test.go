package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

// TestJournal has a server end in the middle of its work, and another one take up
// where it stood.
func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := sandbox.Config{
			Journal:    filepath.Join(t.TempDir(), "journal"),
			Processing: lasting(10 * time.Second), Closed: true,
		}
		seeded := crm.Operation{Action: crm.Revoke, Object: crm.Opportunity, Record: oppID, User: userB}
		first := newClient(t, cfg)
		first.server.AddUser(crm.User{ID: userA, Email: "a@example.com", Active: true}, "")
		first.server.Seed(crm.Operation{Action: crm.Share, Object: crm.Lead, Record: "869196", Context: activity, User: userA})
		first.server.Seed(seeded)
		share := first.accept(pathShare, leadShare)
		time.Sleep(11 * time.Second)
		first.server.Fault(sandbox.Fault{Kind: sandbox.FaultProcessFailed, Text: "locked", Times: 1})
		failing := first.accept(pathRevoke, leadRevoke)
		time.Sleep(11 * time.Second)
		revoke := first.accept(pathRevoke, oppRevoke)
		first.server.Fault(sandbox.Fault{Kind: sandbox.FaultNeverProcess})
		never := first.accept(pathRevoke, leadRevoke)
		shares, requests := first.server.Shares(), first.server.Requests()
		if len(shares) != 2 || len(requests) != 4 {
			t.Fatalf("before: got %v and %v, want two shares and four requests", shares, requests)
		}
		if err := first.server.Close(); err != nil {
			t.Fatal(err)
		}

		c := newClient(t, cfg)
		c.server.Seed(seeded)
		utc := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
		if diff := cmp.Diff(shares, c.server.Shares()); diff != "" {
			t.Errorf("shares (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(requests, c.server.Requests(), utc); diff != "" {
			t.Errorf("requests (-before +after):\n%s", diff)
		}
		if got := c.status(revoke).ShareStatus; got != 1 {
			t.Errorf("revoke just after the restart: got code %d, want it pending", got)
		}
		time.Sleep(10 * time.Second)
		c.server.Seed(seeded)
		for id, want := range map[string]int{share: 6, failing: 7, revoke: 6, never: 3} {
			if got := c.status(id).ShareStatus; got != want {
				t.Errorf("request %s: got code %d, want %d", id, got, want)
			}
		}
		if got := c.server.Shares(); len(got) != 1 || got[0].Object != crm.Lead {
			t.Errorf("shares at the end: got %v, want the lead's", got)
		}
		if got := c.server.OpenOnOneTarget(); got != 0 {
			t.Errorf("open on one target: got %d, want 0", got)
		}
		c.accept(pathShare, leadShare)
		if got := c.server.OpenOnOneTarget(); got != 1 {
			t.Errorf("after a share beside the unprocessed revoke: got %d, want 1", got)
		}
	})
}

func TestJournalCutOff(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "journal")
	c := newClient(t, sandbox.Config{Journal: name})
	id := c.accept(pathShare, leadShare)
	if err := c.server.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(whole, `{"request":{"id":"4c22`...), 0o600); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, sandbox.Config{Journal: name})
	if got := c.status(id).ShareStatus; got != 6 {
		t.Errorf("got code %d, want 6", got)
	}
	second := c.accept(pathRevoke, leadRevoke)
	if err := c.server.Close(); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, sandbox.Config{Journal: name})
	if got := c.status(second).ShareStatus; got != 6 {
		t.Errorf("request after the cut: got code %d, want 6", got)
	}
}

func TestJournalRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	if err := os.WriteFile(damaged, []byte("{}\n{not JSON}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		damaged:                                 "line 2",
		dir:                                     "read journal",
		filepath.Join(dir, "missing", "folder"): "open journal",
	} {
		if _, err := sandbox.New(sandbox.Config{Journal: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("journal %s: got %v, want an error with %q", name, err, want)
		}
	}
}

// TestClosedJournal has a server that can write nothing down any more: it accepts
// nothing.
func TestClosedJournal(t *testing.T) {
	t.Parallel()
	c := newClient(t, sandbox.Config{Journal: filepath.Join(t.TempDir(), "journal")})
	if err := c.server.Close(); err != nil {
		t.Fatal(err)
	}
	if status, body := c.do(c.request("POST", pathShare, leadShare)); status != 500 || !strings.Contains(body, "journal") {
		t.Errorf("got %d %q, want 500 about the journal", status, body)
	}
	if got := c.server.Requests(); len(got) != 0 {
		t.Errorf("requests: got %v, want none", got)
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]sandbox.Config{
		"window":  {Window: -1},
		"array":   {MaxEntries: -1},
		"refusal": {Refusal: 8},
	} {
		if _, err := sandbox.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
	}
}
