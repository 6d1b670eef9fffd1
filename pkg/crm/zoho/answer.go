package zoho

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// said is what an answer, or one result in it, says of what was asked.
type said uint8

const (
	// unclear: its parts contradict each other or are missing. The zero value: neither
	// "done" nor "refused" may be believed.
	unclear said = iota
	yes
	no
)

// verdict is the one rule by which an answer is believed: what its status word, its
// code and the HTTP status say together. A success has both words and an HTTP status
// of success; a refusal has a code or the word, and nothing that speaks of success.
// An internal error says nothing of what was done before it.
func verdict(status int, word, code text) said {
	w, c := strings.ToLower(string(word)), strings.ToUpper(string(code))
	switch {
	case w == "success" && c == "SUCCESS":
		if status >= 200 && status < 300 {
			return yes
		}
		return unclear
	case w == "success" || c == "SUCCESS" || c == "INTERNAL_ERROR":
		return unclear
	case failureWord(w), w == "" && c != "":
		return no
	}
	return unclear
}

func failureWord(word string) bool { return word == "error" || word == "failure" || word == "failed" }

// complains says whether the reply as a whole speaks of anything but success,
// whatever else is in it: a list beside an error is no list.
func (p *reply) complains() bool {
	word := strings.ToLower(string(p.Status))
	return p.Error != "" || p.Code != "" && !strings.EqualFold(string(p.Code), "SUCCESS") || word != "" && word != "success"
}

// info is what a list says of itself. Every part of it may be missing.
type info struct {
	Count text `json:"count"`
	Page  text `json:"page"`
	More  text `json:"more_records"`
}

// readInfo returns what a list says of itself, which may be nothing; false where that
// can not be read.
func readInfo(raw once) (i info, ok bool) {
	return i, raw.Absent() || json.Unmarshal(raw, &i) == nil
}

// more says whether there is more than what the list holds.
func (i info) more() bool {
	switch strings.ToLower(string(i.More)) {
	case "", "false", "0", "no":
		return false
	}
	return true
}

// fits says whether the list can be the given page with the given number of
// entries, as far as it tells. More entries than it counts are no loss.
func (i info) fits(page, entries int) bool {
	n, err := strconv.Atoi(string(i.Count))
	if i.Count != "" && (err != nil || n > entries) {
		return false
	}
	n, err = strconv.Atoi(string(i.Page))
	return i.Page == "" || err == nil && n == page
}

// nobody says whether an answer is that of a record that nobody has: the status says
// that there is no content, and there is none.
func nobody(status int, body []byte) bool {
	return status == http.StatusNoContent && (len(body) == 0 || string(body) == "null" || string(body) == `""`)
}
