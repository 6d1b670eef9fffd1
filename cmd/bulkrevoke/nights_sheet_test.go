package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// nightColumns are those of a sheet, in the order of askRow's fields.
var nightColumns = []string{
	"account", "action", "object", "record_id", "context_id", "user", "access", "share_related", "group_permissions", "remark",
}

// askRow is a row of a sheet as somebody writes it.
type askRow struct {
	account, action, object, record, context, user, access, related, permissions, remark string
}

func (r askRow) cells() []string {
	return []string{r.account, r.action, r.object, r.record, r.context, r.user, r.access, r.related, r.permissions, r.remark}
}

// nightSheet is a sheet that somebody edits from night to night.
type nightSheet struct {
	w                    *nightWorld
	path, result, ledger string
	flags                []string
	comma                rune
	end                  string
	mark                 bool // it begins with a byte order mark

	rows     []askRow
	whole    bool        // the last run has come to its end
	alarmed  bool        // its result tells of somebody who lost access
	known    [][]readRow // the sheets that its ledger may know
	since    int         // how many requests LeadSquared had accepted before the ledger began
	imported [][]byte    // sheets that a run may have taken up, the last one last
}

// write writes the sheet into its file.
func (s *nightSheet) write() {
	var b bytes.Buffer
	if s.mark {
		b.WriteString("\ufeff")
	}
	c := csv.NewWriter(&b)
	c.Comma, c.UseCRLF = s.comma, s.end == "\r\n"
	must(s.w.t, c.Write(nightColumns))
	for _, r := range s.rows {
		must(s.w.t, c.Write(r.cells()))
	}
	c.Flush()
	must(s.w.t, c.Error())
	must(s.w.t, os.WriteFile(s.path, b.Bytes(), 0o600))
}

// remarks are cells that are nothing to us and come back as they were.
var remarks = []string{"", "", "left in May", "a, b; c\td", `say "hi"`, "=HYPERLINK(1)", "two\nlines", " spaces ", "Zoë 東京"}

// row draws a row.
func (s *nightSheet) row() askRow {
	d := s.w.dice
	r := askRow{action: "revoke", remark: pick(d, remarks...)}
	if d.one(3) {
		r.action = "share"
	}
	switch d.IntN(4) {
	case 0, 1:
		s.quote(&r, d.IntN(nightQuotes))
	case 2:
		r.account, r.object, r.record, r.user = "lsq", crm.SalesGroup, guidOf('e', d.IntN(nightGroups)), guidOf('u', d.IntN(nightUsers))
	default:
		n := d.IntN(nightLeads)
		r.account, r.user, r.access = pick(d, "lsq", ""), guidOf('u', d.IntN(nightUsers)), "read"
		r.object, r.record = crm.Opportunity, guidOf('o', n)
		if d.one(2) {
			r.object, r.record, r.context = crm.Lead, fmt.Sprint(7000+n), guidOf('c', n)
		}
	}
	s.level(&r)
	if r.user != "" && d.one(8) {
		r.user = addressOf(r.user)
	}
	return r
}

// quote makes r a row about a Zoho record.
func (s *nightSheet) quote(r *askRow, n int) {
	d := s.w.dice
	r.account, r.object, r.record, r.user = "crm", "Quotes", nightQuote(n), nightUser(d.IntN(nightUsers))
	switch flavour := s.w.flavour[n]; {
	case flavour == "inherited" && d.one(3):
		r.user = nightUser(nightHeir)
	case flavour == "gone" && d.one(4):
		r.user = nightUser(nightGone)
	case d.one(9):
		r.action, r.user = "revoke_all", ""
	}
}

// level gives a row what it says about how much.
func (s *nightSheet) level(r *askRow) {
	d := s.w.dice
	r.permissions, r.related = "", ""
	switch {
	case r.action != "share":
		r.access = ""
		if r.object == crm.Lead || r.object == crm.Opportunity {
			r.access = "read"
		}
	case r.object == crm.SalesGroup:
		r.access, r.permissions = "", crm.Permissions(d.IntN(64)).String()
	case r.object == "Quotes":
		r.access, r.related = pick(d, "read", "write", "full"), pick(d, "", "true", "false")
	default:
		r.access = pick(d, "read", "write")
	}
}

// edit changes the sheet as somebody does in a day.
func (s *nightSheet) edit(atLeast int) {
	d := s.w.dice
	for range d.IntN(4) {
		if len(s.rows) > atLeast {
			i := d.IntN(len(s.rows))
			s.rows = slices.Delete(s.rows, i, i+1)
		}
	}
	for range 1 + d.IntN(5) {
		s.rows = append(s.rows, s.row())
	}
	for len(s.rows) < atLeast {
		s.rows = append(s.rows, s.row())
	}
	any := func() *askRow { return &s.rows[d.IntN(len(s.rows))] }
	if d.one(3) { // a row once more, right after itself or at the end
		r := *any()
		s.rows = slices.Insert(s.rows, pick(d, len(s.rows), slices.Index(s.rows, r)+1), r)
	}
	if d.one(3) { // a row moves
		i := d.IntN(len(s.rows))
		r := s.rows[i]
		s.rows = slices.Insert(slices.Delete(s.rows, i, i+1), d.IntN(len(s.rows)), r)
	}
	if r := any(); d.one(2) && r.action != "revoke_all" { // something else is asked for
		r.action = pick(d, "share", "revoke")
		s.level(r)
	}
	if r := any(); d.one(3) && r.user != "" { // somebody by address, or by id again
		if id, ok := s.w.emails[r.user]; ok {
			r.user = id
		} else {
			r.user = addressOf(r.user)
		}
	}
	if r := *any(); d.one(3) && r.action != "revoke_all" { // a migration: one loses it and gets it anew
		revoke, share := r, r
		revoke.action, share.action = "revoke", "share"
		s.level(&revoke)
		s.level(&share)
		s.rows = append(s.rows, revoke, share)
	}
	if d.one(4) {
		slices.SortStableFunc(s.rows, func(a, b askRow) int { return strings.Compare(a.record, b.record) })
	}
	if d.one(6) {
		d.shuffle(len(s.rows), func(i, j int) { s.rows[i], s.rows[j] = s.rows[j], s.rows[i] })
	}
	s.write()
}

// meddling is somebody else's change of a record that comes between a look and the
// change that follows it.
func (w *nightWorld) meddling() (record, body string, at place) {
	n, user := w.dice.IntN(nightQuotes), w.dice.IntN(nightUsers)
	body = fmt.Sprintf(`{"remove":[%q]}`, nightUser(user))
	if w.dice.one(2) {
		body = fmt.Sprintf(`{"add":[{"kind":"user","id":%q,"access":%d,"type":"private"}]}`, nightUser(user), 1+w.dice.IntN(3))
	}
	return nightQuote(n), body, userOn("Quotes", nightQuote(n), "", nightUser(user))
}

// gives says that a row shares a Zoho record with a user.
func (s *nightSheet) gives(user string) bool {
	return slices.ContainsFunc(s.rows, func(r askRow) bool {
		return r.action == "share" && (r.user == user || s.w.emails[r.user] == user)
	})
}
