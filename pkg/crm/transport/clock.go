package transport

import (
	"net/http"
	"time"
)

// heard is what the last answer said of the time.
type heard struct {
	date time.Time // zero where it did not say
	at   time.Time // when it came
}

// hear keeps what an answer says of the time.
func (c *Client) hear(header http.Header) {
	h := &heard{at: time.Now()}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		h.date = date
	}
	c.heard.Store(h)
}

// Clock returns what time it is for the server, by the Date of the last answer; zero where
// that had none. answered is false as long as nothing has been answered.
func (c *Client) Clock() (now time.Time, answered bool) {
	h := c.heard.Load()
	switch {
	case h == nil:
		return time.Time{}, false
	case h.date.IsZero():
		return time.Time{}, true
	}
	return h.date.Add(time.Since(h.at)), true
}
