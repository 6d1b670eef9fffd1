package report

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxName is how many bytes a file's name may have on the usual file systems.
const maxName = 255

// FitName returns the name of a file that begins with stem and ends in ending. A stem
// for which a name has no room is cut between two characters, and a hash of the whole
// stem keeps two long ones apart.
func FitName(stem, ending string) string {
	if len(stem)+len(ending) <= maxName {
		return stem + ending
	}
	sum := sha256.Sum256([]byte(stem))
	ending = "~" + hex.EncodeToString(sum[:4]) + ending
	n := max(0, maxName-len(ending))
	for n > 0 && !utf8.RuneStart(stem[n]) {
		n--
	}
	return strings.TrimRight(stem[:n], " .") + ending
}

// IsNameTooLong says whether an error is about a name that its file system can not
// hold.
func IsNameTooLong(err error) bool { return errors.Is(err, syscall.ENAMETOOLONG) }
