package main

import (
	"bytes"
	"encoding/csv"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The oracle says what a run may have done and said. It knows the promises, reads
// sheets and results by itself and takes the world from the sandbox; it has nothing
// of the engine.

// nightBlock are the columns that a result adds.
var nightBlock = []string{
	"line", "result", "request_id", "code", "message", "http_status", "attempts", "call_id", "sent_at", "confirmed_at",
}

// readRow is a row of a sheet or of a result.
type readRow struct {
	line   int
	fields []string
	cell   map[string]string
}

// readTable reads a sheet or a result, whatever its delimiter.
func readTable(t testing.TB, data []byte) (header []string, rows []readRow) {
	t.Helper()
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	first, _, _ := bytes.Cut(data, []byte("\n"))
	c := csv.NewReader(bytes.NewReader(data))
	for _, comma := range "\t;" {
		if bytes.ContainsRune(first, comma) {
			c.Comma = comma
		}
	}
	for {
		fields, err := c.Read()
		if err != nil {
			if len(header) == 0 {
				t.Fatalf("read a table: %v in %.200q", err, data)
			}
			return header, rows
		}
		if header == nil {
			header = fields
			continue
		}
		line, _ := c.FieldPos(0)
		row := readRow{line, fields, map[string]string{}}
		for i, name := range header {
			row.cell[name] = fields[i]
		}
		rows = append(rows, row)
	}
}

// place is what a row is about. A row about everybody on a record has no user.
func (w *nightWorld) place(r readRow) place {
	user := r.cell["user"]
	if id, ok := w.emails[user]; ok {
		user = id
	}
	return userOn(r.cell["object"], r.cell["record_id"], r.cell["context_id"], user)
}

func wholeRecord(r readRow) bool { return r.cell["action"] == "revoke_all" }

// sameRecord says that two rows are about one record.
func sameRecord(a, b place) bool {
	return a.object == b.object && a.record == b.record && a.context == b.context
}

// level is what a row gives, in the words of standing.
func level(r readRow) string {
	switch r.cell["object"] {
	case "sales_group":
		names := strings.FieldsFunc(r.cell["group_permissions"], func(r rune) bool { return r == ';' || r == '|' })
		return "member " + strings.Join(names, ";")
	case "Quotes":
		return strings.TrimSpace(r.cell["access"] + " " + r.cell["share_related"])
	}
	return r.cell["access"]
}

// gives says that an access is at the level of a row; a row about a Zoho record may
// leave open whether related records are shared too.
func gives(r readRow, have string) bool {
	want := level(r)
	return have == want || r.cell["object"] == "Quotes" && r.cell["share_related"] == "" && strings.HasPrefix(have, want+" ")
}

// night is what one run, or several at once, have left behind.
type night struct {
	w        *nightWorld
	sheet    *nightSheet
	asked    []readRow // the rows of the sheet
	results  []readRow
	now      map[place]string // who has what at the end
	begun    time.Time
	code     int
	quiet    bool // nothing was in its way
	free     bool // --confirm off
	finished bool // the result is this run's
	alarm    bool // a bystander who has lost access is told of, with the row or without it
}

// problem is a promise that was not kept.
func (n *night) problem(format string, args ...any) {
	n.w.t.Helper()
	n.w.t.Errorf("night %d: "+format, append([]any{n.w.count.nights}, args...)...)
}

// check holds the night to the promises.
func (n *night) check() {
	n.w.t.Helper()
	n.checkSent()
	n.checkBystanders()
	if n.finished {
		n.checkTruth()
		n.checkCode()
		if n.sheet == n.w.main && len(n.results) == len(n.asked) {
			n.checkRepeats()
		}
	}
}

// readResult reads the result and holds it to having every row of the sheet once, in
// its order, with its cells as they were. It says whether there is one. What a stop
// has left may still be the result of an earlier run.
func (n *night) readResult(mayBeOld bool) bool {
	t := n.w.t
	t.Helper()
	data, err := os.ReadFile(n.sheet.result)
	if err != nil {
		if !mayBeOld {
			n.problem("there is no result: %v", err)
		}
		return false
	}
	header, rows := readTable(t, data)
	var wrong string
	for i, text := range slices.Backward(n.sheet.imported) {
		wantHeader, want := readTable(t, text)
		wrong = resultOf(wantHeader, want, header, rows)
		if mark := []byte("\ufeff"); wrong == "" && bytes.HasPrefix(data, mark) != bytes.HasPrefix(text, mark) {
			wrong = "its byte order mark"
		}
		if wrong == "" {
			n.results = rows
			return i == len(n.sheet.imported)-1
		}
		if !mayBeOld {
			break
		}
	}
	n.problem("the result is not the sheet's: %s", wrong)
	return false
}

// resultOf says what of a result does not come from a sheet, "" if all is right.
func resultOf(wantHeader []string, want []readRow, header []string, rows []readRow) string {
	own := len(wantHeader)
	if tail := own - len(nightBlock); tail > 0 && slices.Equal(wantHeader[tail:], nightBlock) {
		own = tail // a result was the sheet: its block is replaced
	}
	if diff := cmp.Diff(slices.Concat(wantHeader[:own], nightBlock), header); diff != "" {
		return "columns (-want +got):\n" + diff
	}
	if len(rows) != len(want) {
		return strconv.Itoa(len(rows)) + " rows for " + strconv.Itoa(len(want))
	}
	for i, r := range rows {
		if diff := cmp.Diff(want[i].fields[:own], r.fields[:own]); diff != "" {
			return "cells (-want +got):\n" + diff
		}
		if r.cell["line"] != strconv.Itoa(want[i].line) {
			return "line " + r.cell["line"] + " for " + strconv.Itoa(want[i].line)
		}
		if !slices.Contains([]string{"done", "unchanged", "accepted", "failed", "in_doubt", "not_attempted"}, r.cell["result"]) {
			return "a result " + r.cell["result"]
		}
	}
	return ""
}

// when is the time at which a row was last known to be so: when it was looked at, or,
// of what nobody can look at, when it was sent.
func when(r readRow) time.Time {
	columns := []string{"confirmed_at", "sent_at"}
	if r.cell["object"] == "lead" || r.cell["object"] == "opportunity" {
		columns = columns[1:]
	}
	for _, column := range columns {
		if at, err := time.Parse(time.RFC3339, r.cell[column]); err == nil {
			return at
		}
	}
	return time.Time{}
}

// sinceTouched says that somebody else has changed an access after the row was seen
// to be so.
func (n *night) sinceTouched(p place, r readRow) bool {
	return n.touchedSince(p, when(r).Add(-time.Millisecond))
}

// touchedSince says that somebody other than the sheets of its ledger has changed an access.
func (n *night) touchedSince(p place, at time.Time) bool {
	return slices.ContainsFunc(n.w.touched[p], func(t touch) bool { return t.by != n.sheet.ledger && t.at.After(at) })
}

// last says that no later row is about what row i is about.
func (n *night) last(i int) bool {
	p := n.w.place(n.results[i])
	return !slices.ContainsFunc(n.results[i+1:], func(later readRow) bool {
		q := n.w.place(later)
		return sameRecord(p, q) && (p.who == q.who || wholeRecord(later))
	})
}

// checkTruth holds what the result says is so against what is so.
func (n *night) checkTruth() {
	n.w.t.Helper()
	for i, r := range n.results {
		switch word := r.cell["result"]; {
		case (word == "done" || word == "unchanged") && n.last(i):
			n.holds(i, true)
		case word == "failed" && (r.cell["code"] == "inherited" || r.cell["code"] == "public") && n.last(i):
			if p := n.w.place(r); !n.otherWay(p) && !n.sinceTouched(p, r) {
				n.problem("line %s is %s, and nothing of that kind is there", r.cell["line"], r.cell["code"])
			}
		case word == "in_doubt" && n.quiet:
			if o := r.cell["object"]; o != "lead" && o != "opportunity" || r.cell["action"] != "share" {
				n.problem("line %s is in doubt, a %s of %s, on a quiet night", r.cell["line"], r.cell["action"], o)
			}
		}
		if r.cell["code"] == "stayer_lost" {
			n.checkAlarm(r)
		}
	}
}

// otherWay says that a user, or of a record as a whole somebody, has it by more than a
// share of it.
func (n *night) otherWay(p place) bool {
	for q := range n.now {
		if through := strings.Contains(q.who, " through "); sameRecord(p, q) &&
			(through && (p.who == "user " || strings.HasPrefix(q.who, p.who+" ")) || strings.HasPrefix(q.who, "public ")) {
			return true
		}
	}
	return false
}

// holds says whether row i is so, and, if it is to be, complains if it is not.
// spare spares what somebody else has changed since.
func (n *night) holds(i int, spare bool) bool {
	n.w.t.Helper()
	r := n.results[i]
	p := n.w.place(r)
	wrong := ""
	if wholeRecord(r) {
		named := map[string]bool{}
		for _, later := range n.results[i+1:] {
			named[n.w.place(later).who] = true
		}
		for q := range n.now {
			if sameRecord(p, q) && !named[q.who] && !(spare && n.sinceTouched(q, r)) {
				wrong = q.who + " has it"
			}
		}
	} else if !(spare && (n.sinceTouched(p, r) || n.told(p) || p.who == "user "+nightUser(nightGone))) {
		// Left out: a share of somebody who is not active any more and that was there already.
		// The CRM refuses their entry in the next list, and drops it; see entryFaults.
		have, has := n.now[p]
		switch {
		case r.cell["action"] == "revoke" && has:
			wrong = "the user has it: " + have
		case r.cell["action"] == "revoke" && n.otherWay(p):
			wrong = "the user has it by another way"
		case r.cell["action"] == "share" && !(has && gives(r, have)) && !(n.otherWay(p) && r.cell["result"] == "unchanged"):
			wrong = "the user has " + strconv.Quote(have) + ", not " + level(r)
		}
	}
	if wrong != "" && spare {
		n.problem("line %s (%v) is %s, and %s; %q", r.cell["line"], p, r.cell["result"], wrong, r.fields)
	}
	return wrong == ""
}

var named = regexp.MustCompile(`user (\d+)`)

// checkAlarm holds what a row of tonight says about somebody who has lost access to
// the truth.
func (n *night) checkAlarm(r readRow) {
	n.w.t.Helper()
	sent, err := time.Parse(time.RFC3339, r.cell["sent_at"])
	if err != nil || sent.Before(n.begun.Truncate(time.Millisecond)) || r.cell["attempts"] != "1" {
		return // it goes by what was there before the first sending, on an earlier night
	}
	for _, m := range named.FindAllStringSubmatch(r.cell["message"], -1) {
		p := userOn(r.cell["object"], r.cell["record_id"], r.cell["context_id"], m[1])
		if before, had := n.w.state[p]; had && n.now[p] == before && !n.touchedSince(p, sent) {
			n.problem("line %s says that %s lost the record, and they have it", r.cell["line"], p.who)
		}
	}
}

// checkBystanders holds the world to nobody having lost or gained what no row of the
// sheet is about, unless the run says so and ends badly.
func (n *night) checkBystanders() {
	n.w.t.Helper()
	places := maps.Clone(n.w.state)
	maps.Copy(places, n.now)
	for p := range places {
		before, had := n.w.state[p]
		after, has := n.now[p]
		if had == has && before == after || n.about(p, has) || n.touchedSince(p, n.begun) {
			continue
		}
		if had && !has && n.told(p) || p.who == "user "+nightUser(nightGone) && !has {
			continue
		}
		n.problem("%v: no row is about it, and %q became %q", p, before, after)
	}
}

// about says that a row of the sheet asks for a change of an access; everybody may
// lose a record by a row about it as a whole.
func (n *night) about(p place, has bool) bool {
	return slices.ContainsFunc(n.asked, func(r readRow) bool {
		q := n.w.place(r)
		return sameRecord(p, q) && (p.who == q.who || wholeRecord(r) && !has)
	})
}

// told says that the result names somebody who has lost access, and that the run has
// not ended as if all were well.
func (n *night) told(p place) bool {
	return n.code != 0 && slices.ContainsFunc(n.results, func(r readRow) bool {
		return r.cell["code"] == "stayer_lost" && sameRecord(n.w.place(r), p) && strings.Contains(r.cell["message"], strings.TrimPrefix(p.who, "user "))
	})
}

// checkCode holds the exit code to the result.
func (n *night) checkCode() {
	n.w.t.Helper()
	count := map[string]int{}
	alarms := 0
	for _, r := range n.results {
		count[r.cell["result"]]++
		if r.cell["code"] == "stayer_lost" {
			alarms++
		}
	}
	if n.alarm {
		alarms = max(alarms, 1)
	}
	open := count["failed"] + count["in_doubt"] + count["not_attempted"] + alarms
	if !n.free {
		open += count["accepted"]
	}
	switch {
	case n.code == 0 && open > 0:
		n.problem("exit 0 with %v and %d alarms", count, alarms)
	case n.code == 1 && open == 0:
		n.problem("exit 1 with %v", count)
	case n.code == 1 && count["not_attempted"] > 0 && count["in_doubt"]+count["accepted"] == 0:
		n.problem("exit 1 with %v: nothing waits for anything", count)
	case n.quiet && n.code != 0 && n.code != 1:
		n.problem("exit %d on a quiet night", n.code)
	}
}
