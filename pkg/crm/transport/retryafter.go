package transport

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest Retry-After that is believed.
const maxRetryAfter = time.Hour

// ParseRetryAfter reads a Retry-After header: whole seconds, or an HTTP date. It
// returns false for what is neither, for a date in the past, and for more than an
// hour, which is a mistake more often than a wish.
func ParseRetryAfter(v string, now time.Time) (time.Duration, bool) {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0, false
	}
	var d time.Duration
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	} else {
		return 0, false
	}
	if d < 0 || d > maxRetryAfter {
		return 0, false
	}
	return d, true
}
