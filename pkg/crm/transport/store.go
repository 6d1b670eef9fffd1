package transport

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// maxRemembered caps what Recall reads.
const maxRemembered = 1 << 20

// Store is a state folder, of one key or of one organisation: the gate's stamps and what
// a provider remembers from run to run. Its files are readable by the user only. Nothing in
// it is needed: a run without it waits a little longer and asks a little more.
//
// A store is safe for concurrent use. A nil one remembers nothing.
type Store struct{ dir string }

// StoreName returns the name of the folder that belongs to a key on a host: two
// names for one account share it, and it gives neither host nor key away.
func StoreName(host string, key Secret) string {
	sum := sha256.Sum256([]byte(strings.ToLower(host) + "\x00" + key.Reveal()))
	return hex.EncodeToString(sum[:])
}

// OrganisationName returns the name of the folder that belongs to an organisation of a CRM
// on a host, whatever keys work there.
func OrganisationName(crm, host, organisation string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(host) + "\x00organisation\x00" + crm + "\x00" + organisation))
	return hex.EncodeToString(sum[:])
}

// OpenStore opens the folder dir, and makes it if need be.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open the state folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open the state folder: %s is not a folder", dir)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, fmt.Errorf("close the state folder to others: %w", err)
		}
	}
	return &Store{dir: dir}, nil
}

// path returns where a file of the store lies.
func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// remembered is the file of one remembered value.
type remembered struct {
	Until time.Time       `json:"until"`
	Value json.RawMessage `json:"value"`
}

// Remember keeps v, as JSON, until the given time, in place of what had the name
// before. A name consists of small letters, digits, "-" and "_". A Secret in v is
// kept as "[redacted]": what must be kept is revealed by the caller.
func (s *Store) Remember(name string, v any, until time.Time) error {
	return s.remember(name, v, until, true)
}

// remember is Remember; what need not outlive a loss of power is not waited for.
func (s *Store) remember(name string, v any, until time.Time, durable bool) error {
	if s == nil {
		return nil
	}
	path, err := s.valuePath(name)
	if err != nil {
		return err
	}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	text, err := json.Marshal(remembered{Until: until.UTC().Round(0), Value: value})
	if err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	if err := replaceFile(path, text, durable); err != nil {
		return fmt.Errorf("remember %s: %w", name, err)
	}
	return nil
}

// Recall reads what Remember kept into v. It returns false, and v is not to be
// used, when nothing is kept under the name, its time is over, or it is unreadable.
func (s *Store) Recall(name string, v any) bool {
	until, ok := s.read(name, v)
	return ok && time.Now().Before(until)
}

// read reads what Remember kept into v, whether its time is over or not.
func (s *Store) read(name string, v any) (until time.Time, ok bool) {
	if s == nil {
		return time.Time{}, false
	}
	path, err := s.valuePath(name)
	if err != nil {
		return time.Time{}, false
	}
	text, err := readRegular(path, maxRemembered)
	if err != nil {
		return time.Time{}, false
	}
	var kept remembered
	if json.Unmarshal(text, &kept) != nil {
		return time.Time{}, false
	}
	return kept.Until, json.Unmarshal(kept.Value, v) == nil
}

// Forget drops what Remember kept. Nothing kept is nothing to do.
func (s *Store) Forget(name string) {
	if s == nil {
		return
	}
	if path, err := s.valuePath(name); err == nil {
		_ = os.Remove(path)
	}
}

// Sweep drops what is kept under names that begin so and whose time is over.
func (s *Store) Sweep(prefix string) {
	if s == nil {
		return
	}
	files, _ := os.ReadDir(s.dir) // what can not be read stays
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), ".json")
		if ok && strings.HasPrefix(name, prefix) && !s.Recall(name, new(json.RawMessage)) {
			s.Forget(name)
		}
	}
}

const (
	// identityName is what the store knows the owner of the account's keys by.
	identityName = "preflight"
	// identityLasts is how long an answer is good for: keys do not change hands, people
	// change roles rarely, and a refused key ends the account at its first call anyway.
	identityLasts = 24 * time.Hour
)

// Identity returns who owns the account's keys: as it is remembered, if usable says that
// the user's id is one; else as ask finds out, which is remembered then.
func (s *Store) Identity(usable func(user string) bool, ask func() (crm.Identity, error)) (crm.Identity, error) {
	var id crm.Identity
	if s.Recall(identityName, &id) && id.Org != "" && usable(id.User) {
		return id, nil
	}
	id, err := ask()
	if err != nil {
		return crm.Identity{}, err
	}
	// Forgetting costs a request or two in the next run, no more.
	_ = s.remember(identityName, id, time.Now().Add(identityLasts), false)
	return id, nil
}

// Organisation returns the organisation that the key of this store belongs to, "" if that
// is not known yet. It is that of the identity, for good: keys do not change hands.
func (s *Store) Organisation() string {
	var id crm.Identity
	if _, ok := s.read(identityName, &id); !ok {
		return ""
	}
	return id.Org
}

// AskAgain has the next Identity ask, whatever is remembered. The organisation stays known.
func (s *Store) AskAgain() {
	var id crm.Identity
	if until, ok := s.read(identityName, &id); ok && time.Now().Before(until) {
		_ = s.remember(identityName, id, time.Now(), false)
	}
}

// Moved forgets which organisation the key belongs to, and whose it is.
func (s *Store) Moved() { s.Forget(identityName) }

// HasCalls says whether calls were made with the key of this store that no organisation
// counts yet.
func (s *Store) HasCalls() bool {
	for _, name := range []string{stampsName, dailyName} {
		if _, err := os.Lstat(s.path(name)); err == nil {
			return true
		}
	}
	return false
}

// ForgetCalls drops the calls that were made with the key of this store: the organisation
// counts them now.
func (s *Store) ForgetCalls() error {
	var errs []error
	for _, name := range []string{stampsName, dailyName} {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// The files of a gate.
const (
	stampsName = "stamps"
	dailyName  = "calls"
)

// valuePath returns the file of a remembered value.
func (s *Store) valuePath(name string) (string, error) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return "", fmt.Errorf("%q is not a name to remember something by", name)
	}
	return s.path(name + ".json"), nil
}

// readRegular reads a file up to a bound. What is no regular file is an error: opening
// a named pipe would wait for somebody to write to it, and a device may have no end.
func readRegular(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: move it away", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // it is only read
	return io.ReadAll(io.LimitReader(file, most))
}

// moveFile moves an open file, and opens it where it is then: some systems do not move what
// is open.
func moveFile(file *os.File, path string) (*os.File, error) {
	if err := errors.Join(file.Close(), os.Rename(file.Name(), path)); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY, 0)
}

// replaceFile puts a file of mode 0600 in the place of path, at once and whole; durable,
// so that it outlives a loss of power too.
func replaceFile(path string, text []byte, durable bool) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if durable && err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
