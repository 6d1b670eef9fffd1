package transport

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

var discard = slog.New(slog.DiscardHandler)

func TestStoreRemembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, err := OpenStore(filepath.Join(t.TempDir(), "a", "b"))
		if err != nil {
			t.Fatal(err)
		}
		type value struct{ Name string }
		recall := func() string {
			var v value
			if !store.Recall("preflight", &v) {
				return ""
			}
			return v.Name
		}
		if got := recall(); got != "" {
			t.Errorf("recalled %q from an empty store", got)
		}
		for _, name := range []string{"first", "second"} {
			if err := store.Remember("preflight", value{name}, time.Now().Add(24*time.Hour)); err != nil {
				t.Fatal(err)
			}
			if got := recall(); got != name {
				t.Errorf("recalled %q, want %q", got, name)
			}
		}
		time.Sleep(24*time.Hour - time.Nanosecond)
		if got := recall(); got != "second" {
			t.Errorf("recalled %q right before its time was over, want %q", got, "second")
		}
		time.Sleep(time.Nanosecond)
		if got := recall(); got != "" {
			t.Errorf("recalled %q after its time was over", got)
		}
		if err := store.Remember("preflight", value{"third"}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		store.Forget("preflight")
		store.Forget("preflight")
		if got := recall(); got != "" {
			t.Errorf("recalled %q after it was forgotten", got)
		}
		for _, text := range []string{"", "{", `{"until":"2999-01-01T00:00:00Z","value":[]}`, "\x00\x00"} {
			if err := os.WriteFile(store.path("preflight.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := recall(); got != "" {
				t.Errorf("recalled %q from the file %q", got, text)
			}
		}
		for _, name := range []string{"", "../x", "a/b", "A", "stamps.", `a\b`} {
			if err := store.Remember(name, 1, time.Now().Add(time.Hour)); err == nil {
				t.Errorf("remembered something by the name %q, want an error", name)
			}
		}
		if store.Remember("unfit", func() {}, time.Now()) == nil {
			t.Error("remembered a function, want an error")
		}
	})
}

func TestStoreIsTheUsersAlone(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // permissions are not those of files there
	}
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Remember("token", "x", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	newTestGate(t, GateConfig{Limit: 3, Window: time.Second, DailyCalls: 5, Store: store})
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got folder mode %v, error %v, want 0700", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v, error %v of %s, want 0600", info.Mode(), err, e.Name())
		}
	}
	if got, want := strings.Join(names, " "), "calls stamps token.json"; got != want {
		t.Errorf("got files %q, want %q", got, want)
	}
}

func TestStoreName(t *testing.T) {
	t.Parallel()
	name := StoreName("API.example.com", NewSecret("k"))
	if len(name) != 64 || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) {
		t.Errorf("got name %q, want 64 hex digits", name)
	}
	if name != StoreName("api.example.com", NewSecret("k")) {
		t.Error("the case of a host makes another name")
	}
	for _, other := range []string{StoreName("api.example.com", NewSecret("l")), StoreName("api.example.co", NewSecret("mk")), StoreName("api2.example.com", NewSecret("k"))} {
		if other == name {
			t.Error("two accounts have one name")
		}
	}
}

func TestOpenStoreRefusesAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(path); err == nil {
		t.Error("opened a file as a store, want an error")
	}
}

// What was remembered of the keys is asked for again; which organisation they belong to stays
// known, whatever comes of it.
func TestAskAgain(t *testing.T) {
	t.Parallel()
	store, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	identify := func(err error) (crm.Identity, error) {
		return store.Identity(func(string) bool { return true }, func() (crm.Identity, error) {
			asked++
			return crm.Identity{User: "1", Org: "17", Role: "Administrator"}, err
		})
	}
	_, _ = identify(nil)
	_, _ = identify(nil)
	store.AskAgain()
	if got := store.Organisation(); got != "17" {
		t.Errorf("organisation: got %q, want 17", got)
	}
	if _, err := identify(errors.New("no")); err == nil || asked != 2 {
		t.Errorf("asked %d times, want twice, and the error", asked)
	}
	if id, err := identify(nil); err != nil || asked != 3 || id.Org != "17" || store.Organisation() != "17" {
		t.Errorf("got %v, %v after asking %d times", id, err, asked)
	}
}
