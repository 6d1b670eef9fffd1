package zoho

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// class is what one attempt has come to: one of those that every vendor has, or one
// of Zoho's own.
type class = transport.Class

const (
	uncertain = transport.Uncertain
	accepted  = transport.Accepted
	shown     = transport.Shown // of a look: finding.list is what it showed
	refused   = transport.Refused
	throttled = transport.Throttled
	unsent    = transport.Unsent
	ended     = transport.Ended
)

const (
	// partial: the CRM speaks of each entry, and of some it says no.
	partial = transport.OwnClass + iota
	// nothing: a DELETE found nothing to revoke.
	nothing
	// busy: a job on the record is under way; nothing was done.
	busy
	// token: the access token was refused; nothing was done.
	token
	// stale: nothing was sent, because the look before had become too old.
	stale
)

// finding is what is known after one attempt.
type finding struct {
	transport.Finding
	list    []entry  // of a look
	results []result // of a write that was answered entry by entry
	body    []byte   // of any other read
	details once     // of a refusal of the whole request
}

// found is a finding of a class that needs no more.
func found(c class, code, text string) finding {
	return finding{Finding: transport.Finding{Class: c, Code: code, Text: text}}
}

var (
	busyText    = regexp.MustCompile(`(?i)^\s*scheduler is running`)
	nothingText = regexp.MustCompile(`(?i)^\s*no sharing through this record`)
	// visibleText marks refusals of an entry that also come when the user has the
	// record already: only a look can tell.
	visibleText = regexp.MustCompile(`(?i)already visible|cannot share to the user`)
)

// classify decides what one attempt has come to: from the error where no answer
// came, else from the body before the status, because some errors come with
// success statuses. It is the only place that does, and it is pure. size is the
// number of entries that were sent, record the record that was looked at.
func classify(v verb, record string, size int, r *transport.Response, err error) finding {
	if err != nil || r == nil {
		f := finding{Finding: transport.Unanswered(err)}
		if f.Class == ended {
			f.Text = f.Ended.Error()
		} else if errors.Is(err, errStale) {
			f.Class = stale
		}
		return f
	}
	p, parsed := transport.Object[reply](r)
	f := finding{Finding: transport.Finding{Status: r.Status, Attempted: true}}
	body, ok := transport.TrimJSON(r.Body), r.Status >= 200 && r.Status < 300
	hasShare := parsed && !p.Share.Absent()
	switch {
	case r.Throttled || limited(r.Status, p, parsed):
		f.Class, f.Text, f.Attempted = throttled, p.says(), false
	case r.Status >= 300 && r.Status < 400:
		f.Redirected(r, "Set the data centre or the API URL of the account to the one that serves its API.")
	case parsed && !hasShare && (p.Code != "" || p.complains()), parsed && v <= verbRead && ok && p.complains():
		f.judge(v, p)
	case v == verbLook && ok:
		f.look(record, p, body, parsed)
	case hasShare:
		f.write(v, record, p, size)
	case v == verbRead && (nobody(r.Status, body) || ok && r.Status != http.StatusNoContent && parsed):
		f.Class, f.body = shown, body
	case r.Status == http.StatusNotFound:
		f.End(crm.EndHost, "the host does not know the path (HTTP 404)", "",
			"Check the data centre or the API URL of the account, and its API version.")
	default:
		if f.Bare(); r.Status == http.StatusUnauthorized {
			f.Class, f.Code, f.Attempted = token, crm.CodeNoAnswer, false
		}
	}
	return f
}

// judge decides for a reply that is one error, or one success, about the whole
// request.
func (f *finding) judge(v verb, p *reply) {
	f.Code, f.Text, f.details = string(p.Code), p.says(), p.Details
	if f.Code == "" {
		f.Code = string(p.Error)
	}
	if f.Code == "" {
		f.Code, f.Text = crm.CodeError, crm.Join("an error without a code", f.Text)
	}
	code := strings.ToUpper(f.Code)
	known := knownRefusal(code)
	switch {
	case p.Error == "" && code != internalError && verdict(f.Status, p.Status, p.Code) != no:
		// A success that does not say of what is none that can be relied on, and one that
		// comes with a refusal is neither.
		f.noAnswer(p)
	case busyText.MatchString(f.Text):
		f.Class = busy
	case code == "INVALID_TOKEN" || code == "AUTHENTICATION_FAILURE" || f.Status == http.StatusUnauthorized && !known:
		f.Class, f.Attempted = token, false
	case code == internalError:
		f.Class = uncertain
	case v == verbDelete && nothingText.MatchString(f.Text):
		f.Class = nothing
	case f.Status < 300 && !known && p.Error == "" && p.Status == "":
		f.noAnswer(p)
	case f.Status >= 500 && !known:
		f.Class = uncertain
	default:
		f.Class = refused
	}
}

// noAnswer makes the finding that of a reply whose words are no answer.
func (f *finding) noAnswer(p *reply) {
	f.Class, f.Code, f.Text = uncertain, crm.CodeNoAnswer, "an answer that does not say what was done: "+p.words()
}

// internalError is the code that says nothing of what was done.
const internalError = "INTERNAL_ERROR"

// knownRefusal says whether a code is a refusal whatever status it comes with.
func knownRefusal(code string) bool {
	switch code {
	case "INVALID_DATA", "INVALID_MODULE", "NOT_ALLOWED", "INVALID_REQUEST_METHOD", "INVALID_URL_PATTERN",
		scopeMismatch, "NO_PERMISSION", "AUTHORIZATION_FAILED", "CANNOT_PROCESS", "BAD_REQUEST",
		"SHARE_LIMIT_EXCEEDED", "LIMIT_EXCEEDED", "AMBIGUITY_DURING_PROCESSING", "PATTERN_NOT_MATCHED",
		"DUPLICATE_DATA", "MANDATORY_NOT_FOUND", "ENTITY_ID_INVALID", "API_NOT_SUPPORTED":
		return true
	}
	return false
}

// look reads the list of a look that was answered. A list that is not whole, can not
// be read, or comes with a status that speaks of something else, is no list: a write
// would drop who is missing from it.
func (f *finding) look(record string, p *reply, body []byte, parsed bool) {
	if nobody(f.Status, body) {
		f.Class, f.list = shown, []entry{}
		return
	}
	list, err := readList(p.Share, record)
	about, whole := readInfo(p.Info)
	f.Code = crm.CodeNoAnswer
	switch {
	case f.Status != http.StatusOK && len(body) > 0:
		f.Text = fmt.Sprintf("HTTP %d does not go with a list of shares", f.Status)
	case f.Status != http.StatusOK || !parsed || p.Share.Absent():
		f.Text = fmt.Sprintf("HTTP %d without a list of shares", f.Status)
	case err != nil:
		f.Text = err.Error()
	case !whole || about.more() || !about.fits(1, len(list)):
		f.Text = "the list of shares is not whole"
	default:
		f.Class, f.Code, f.list = shown, "", list
	}
}

// write reads what a write was answered with: an object for DELETE, a list with a
// result for each entry for the others. What it says is believed as far as all of it
// agrees.
func (f *finding) write(v verb, record string, p *reply, size int) {
	f.Code = crm.CodeNoAnswer
	one, list, isOne, isList := readResults(p.Share)
	if isList && len(list) == 1 && (v == verbDelete || v == verbLook) {
		isOne, one = true, list[0]
	}
	one.said = verdict(f.Status, one.Status, one.Code)
	said := &reply{Code: one.Code, Message: one.Message, Status: one.Status, Details: one.Details}
	switch {
	case isOne && v == verbDelete && one.ok() && !p.complains() && one.about(record):
		f.Class, f.Code = accepted, ""
		return
	case isOne && one.no():
		f.judge(v, said)
		return
	case p.complains() && isList && len(list) == 0:
		f.judge(v, p)
		return
	case isOne && !isList:
		f.noAnswer(said)
		return
	case !isList || v == verbDelete || v == verbLook || v == verbRead:
		f.Text = "an answer that can not be read"
		return
	}
	f.results = inOrder(list, size, f.Status, p.complains())
	good, waiting := 0, 0
	for _, r := range f.results {
		switch {
		case r.ok():
			good++
		case r.no() && busyText.MatchString(string(r.Message)):
			waiting++
			f.Code, f.Text = string(r.Code), string(r.Message)
		}
	}
	switch {
	case good == size && size > 0:
		f.Class, f.Code = accepted, ""
	case waiting == size && size > 0:
		f.Class = busy
	case len(list) == 0:
		f.Text = "an answer without a result for any entry"
	default:
		f.Class, f.Code = partial, ""
	}
}

// inOrder puts results in the order of the entries that were sent. A success is told
// by its place alone: where there are not as many results as entries, or the reply as
// a whole complains, no place is certain, and only a refusal that names its entry is
// believed. Of an entry that none is about nothing is known.
func inOrder(list []result, size, status int, complains bool) []result {
	out := slices.Repeat([]result{{Code: crm.CodeNoAnswer, Message: "the answer says nothing of this entry"}}, size)
	told := make([]bool, size)
	for n, r := range list {
		r.said = verdict(status, r.Status, r.Code)
		at, named := r.place(n)
		if !named && (len(list) != size || complains && r.ok()) {
			r.said = unclear
		}
		if at < size && (!told[at] || r.no()) {
			out[at], told[at] = r, true
		}
	}
	return out
}

// perhapsHeld says whether the refusal of an entry also comes when the user has the
// record already.
func perhapsHeld(r result) bool {
	return visibleText.MatchString(string(r.Message)) || strings.EqualFold(string(r.Code), "DUPLICATE_DATA")
}

// single turns the refusal of a request into that of its entries, where only a look
// can tell what it means and one operation is all that it can be about.
func single(f finding, c change) finding {
	owned := len(c.entries) - len(c.bystanders())
	one := result{Code: text(f.Code), Message: text(f.Text), Status: "error", said: no}
	if f.Class == refused && owned == 1 && len(c.ops) == 1 && perhapsHeld(one) {
		f.Class, f.results = partial, slices.Repeat([]result{one}, len(c.entries))
	}
	return f
}

// firstRefusal is what the CRM said to the first entry that it refused, else to the
// first one of which it did not clearly say that it accepted it.
func firstRefusal(f finding) result {
	for _, such := range []func(result) bool{result.no, result.doubtful} {
		if at := slices.IndexFunc(f.results, such); at >= 0 {
			return f.results[at]
		}
	}
	return result{}
}

// limited recognises a refusal by a limit in all its forms, also where the results of a
// write are, if it is all that is there. LIMIT_EXCEEDED is none: it is about the number
// of shares.
func limited(status int, p *reply, parsed bool) bool {
	switch {
	case status == http.StatusTooManyRequests:
		return true
	case !parsed:
		return false
	case isThrottle(p.Code) || isThrottle(p.Error) || tokenThrottle(p):
		return true
	}
	one, list, isOne, _ := readResults(p.Share)
	if isOne {
		list = []result{one}
	}
	return len(list) > 0 && !slices.ContainsFunc(list, func(r result) bool { return !isThrottle(r.Code) })
}

func isThrottle(code text) bool {
	return strings.EqualFold(string(code), "TOO_MANY_REQUESTS") || code == "429"
}

// tokenThrottle recognises the token service's refusal to give out more access
// tokens, which comes as 200 or 400.
func tokenThrottle(p *reply) bool {
	return strings.EqualFold(string(p.Error), "Access Denied") &&
		strings.Contains(strings.ToLower(string(p.Description)), "too many requests")
}

// tokenWindow is the rest of the window, at most, for which the token service
// refuses after ten new tokens.
const tokenWindow = 10 * time.Minute

var (
	concurrencyWords = regexp.MustCompile(`(?i)concurren`)
	creditWords      = regexp.MustCompile(`(?i)24[\s-]*hour|credit`)
)

// inspect is limited as the transport asks for it, with what is said of the cause:
// the CRM gives one code for too many calls at a time and for a day's credits used
// up. Where both are named nothing is known, and the gate finds out; where neither
// is, it is taken for too many at a time first.
func inspect(r *transport.Response) transport.Signal {
	p, parsed := transport.Object[reply](r)
	if !limited(r.Status, p, parsed) {
		// Errors of the CRM's own that come with a 5xx are no outage.
		return transport.Signal{Answered: parsed && knownRefusal(strings.ToUpper(string(p.Code)))}
	}
	words := p.says()
	if !parsed {
		body := transport.TrimJSON(r.Body)
		words = string(body[:min(len(body), 4096)])
	}
	t := transport.Throttle{Text: words} // the gate's client redacts it, then cuts it
	concurrency, credits := concurrencyWords.MatchString(words), creditWords.MatchString(words)
	switch {
	case tokenThrottle(p):
		t.After = tokenWindow
	case strings.TrimSpace(r.Header.Get("X-API-CREDITS-REMAINING")) == "0", credits && !concurrency:
		t.Quota = true
	case !credits:
		t.Concurrency = true // if nothing is said, fewer at a time do no harm
	}
	return transport.Signal{Throttled: true, Throttle: t}
}

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
	failure := w == "error" || w == "failure" || w == "failed"
	switch {
	case w == "success" && c == "SUCCESS" && status >= 200 && status < 300:
		return yes
	case w == "success" || c == "SUCCESS" || c == internalError:
		return unclear
	case failure, w == "" && c != "":
		return no
	}
	return unclear
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
	ok = raw.Absent() || json.Unmarshal(raw, &i) == nil
	return i, ok
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
