package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// maxSecret is the longest secret file that is read. Refresh tokens have some 70
// characters.
const maxSecret = 64 << 10

// secretSource reads secrets from where the configuration says they are.
type secretSource struct {
	lookup func(string) (string, bool) // the environment
	warn   func(message string)
}

// read returns the secret that ref names: env:NAME or file:/path. A secret that
// stands in the configuration itself is refused: configurations get copied,
// committed and mailed. Errors never repeat ref beyond a name or a path.
func (s secretSource) read(key, ref string) (transport.Secret, error) {
	switch {
	case strings.HasPrefix(ref, "env:"):
		return s.fromEnvironment(key, strings.TrimPrefix(ref, "env:"))
	case strings.HasPrefix(ref, "file:"):
		return s.fromFile(key, strings.TrimPrefix(ref, "file:"))
	}
	return transport.Secret{}, refusef("Write env:NAME for an environment variable or file:/path for a file that holds it.",
		"%s: a secret must not stand in the configuration itself", key)
}

func (s secretSource) fromEnvironment(key, name string) (transport.Secret, error) {
	value, _ := s.lookup(name)
	value = trimNewline(value)
	if value == "" {
		return transport.Secret{}, refusef(fmt.Sprintf("Set %s, or name another variable or file in the configuration.", name),
			"%s: the environment variable %s is not set", key, name)
	}
	return transport.NewSecret(value), nil
}

func (s secretSource) fromFile(key, path string) (transport.Secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return transport.Secret{}, refusef("Write the secret into that file, or name another in the configuration.", "%s: the secret file %s: %w", key, path, report.Reason(err))
	}
	if !info.Mode().IsRegular() {
		return transport.Secret{}, refusef("", "%s: %s is not a regular file", key, path)
	}
	if info.Size() > maxSecret {
		return transport.Secret{}, refusef("", "%s: %s is too large for a secret", key, path)
	}
	if err := s.checkMode(key, path, info.Mode().Perm()); err != nil {
		return transport.Secret{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return transport.Secret{}, refusef("Give the user who runs this the right to read it.", "%s: the secret file %s: %w", key, path, report.Reason(err))
	}
	value := trimNewline(string(data))
	if value == "" {
		return transport.Secret{}, refusef("", "%s: %w", key, errors.New(path+" is empty"))
	}
	return transport.NewSecret(value), nil
}

// checkMode refuses a file that others may change, and warns of one that others
// may read. Windows keeps no such bits.
func (s secretSource) checkMode(key, path string, mode fs.FileMode) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if mode&0o022 != 0 {
		return refusef("Take that right away: chmod go-w "+path, "%s: others may write %s (mode %04o)", key, path, mode)
	}
	if mode&0o044 != 0 {
		s.warn(fmt.Sprintf("others may read the secret file %s (mode %04o)", path, mode))
	}
	return nil
}

// trimNewline takes off the line end that editors and `echo` leave.
func trimNewline(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}
