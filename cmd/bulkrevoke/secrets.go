package main

import (
	"fmt"
	"os"
	"path/filepath"
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
// committed and mailed. So is a file that others may change; one that others may read is
// warned about, unless systemd has made it for this process. Errors never repeat ref beyond a
// name or a path.
func (s secretSource) read(key, ref string) (none transport.Secret, err error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		value, _ := s.lookup(name)
		if value = trimNewline(value); value == "" {
			return none, refusef(fmt.Sprintf("Set %s, or name another variable or file in the configuration.", name),
				"%s: the environment variable %s is not set", key, name)
		}
		return transport.NewSecret(value), nil
	}
	path, ok := strings.CutPrefix(ref, "file:")
	if !ok {
		return none, refusef("Write env:NAME for an environment variable or file:/path for a file that holds it.",
			"%s: a secret must not stand in the configuration itself", key)
	}
	info, err := os.Stat(path)
	if err != nil {
		return none, refusef("Write the secret into that file, or name another in the configuration.", "%s: the secret file %s: %w", key, path, report.Reason(err))
	}
	mode := info.Mode().Perm()
	if runtime.GOOS == "windows" {
		mode = 0 // which keeps no such bits
	}
	switch {
	case !info.Mode().IsRegular():
		return none, refusef("", "%s: %s is not a regular file", key, path)
	case info.Size() > maxSecret:
		return none, refusef("", "%s: %s is too large for a secret", key, path)
	case mode&0o022 != 0:
		return none, refusef("Take that right away: chmod go-w "+path, "%s: others may write %s (mode %04o)", key, path, mode)
	case mode&0o044 != 0 && !s.isCredential(path):
		s.warn(fmt.Sprintf("others may read the secret file %s (mode %04o)", path, mode))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return none, refusef("Give the user who runs this the right to read it.", "%s: the secret file %s: %w", key, path, report.Reason(err))
	}
	value := trimNewline(string(data))
	if value == "" {
		return none, refusef("", "%s: %s is empty", key, path)
	}
	return transport.NewSecret(value), nil
}

// isCredential says that systemd has made the file for this process (LoadCredential=). Its mode
// shows the right of the one user who may read it as that of the group.
func (s secretSource) isCredential(path string) bool {
	dir, _ := s.lookup("CREDENTIALS_DIRECTORY")
	return dir != "" && filepath.Dir(filepath.Clean(path)) == filepath.Clean(dir)
}

// trimNewline takes off the line end that editors and `echo` leave.
func trimNewline(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}
