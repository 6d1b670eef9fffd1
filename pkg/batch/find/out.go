package find

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Counts are those of the rows, by what was found.
type Counts struct {
	Revoke, Share int64
	Ours          int64 // of Revoke, those that an earlier ledger says
	// What no row can take away.
	Inherited, Group, Role, Public int64
}

// Told is how much was seen that no row can take away.
func (c Counts) Told() int64 { return c.Inherited + c.Group + c.Role + c.Public }

func (c *Counts) add(r *Row) {
	switch {
	case r.Action == crm.Share:
		c.Share++
	case r.Action == crm.Revoke:
		c.Revoke++
	}
	switch r.Found {
	case FoundOurs:
		c.Ours++
	case FoundInherited:
		c.Inherited++
	case FoundGroup:
		c.Group++
	case FoundRole:
		c.Role++
	case FoundPublic:
		c.Public++
	}
}

// Columns returns the header of the sheet that is made.
func (f *Find) Columns() []string {
	columns := []string{"action", "object", "record_id", "user", "context_id", "access", "share_related", "group_permissions", "account", "last_day", "found", "seen_at", "note"}
	if f.opts.Review {
		columns[0] = "decision"
		columns = append(columns, "reviewer", "reason")
	}
	if f.opts.People != nil {
		columns = append(columns, f.opts.People.Carried...)
	}
	return columns
}

// Cells returns the cells of a row, those before its carried ones. A review leaves the
// decision to somebody.
func (f *Find) Cells(r *Row) []string {
	action, related := "", r.Related.String()
	if !f.opts.Review {
		action = r.Action.String()
	}
	cells := []string{
		action, r.Object, r.Record, r.User, r.Context, r.Access.String(), related, r.Permissions.String(), r.Account, r.LastDay,
		r.Found, stamp(r.SeenAt), r.Note,
	}
	if r.SeenAt.IsZero() {
		cells[11] = ""
	}
	if f.opts.Review {
		cells = append(cells, "", "")
	}
	return cells
}

// Rows streams the rows in a fixed order: by account, what people are in, what was looked at
// part by part and record by record, and what earlier ledgers gave. counts is what there was,
// those rows too that only a review has.
func (f *Find) Rows(ctx context.Context, counts *Counts) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, a := range f.accounts {
			give := func(rows []Row) bool {
				for _, r := range rows {
					counts.add(&r)
					if r.Action == 0 && !f.opts.Review {
						continue
					}
					if !yield(r, nil) {
						return false
					}
				}
				return true
			}
			if err := a.rowsOf(ctx, give); err != nil {
				if err != errStop {
					yield(Row{}, err)
				}
				return
			}
		}
	}
}

// errStop says that nobody wants more.
var errStop = &Error{Reason: "stopped"}

// rowsOf hands over the rows of the account.
func (a *account) rowsOf(ctx context.Context, give func([]Row) bool) error {
	met, several := make(map[crm.RecordID]bool), 0
	for _, p := range a.parts {
		if p.kind == partRecords || p.kind == partModule {
			several++
		}
	}
	var groups map[string]memberships
	for _, p := range a.parts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.progress == nil {
			continue
		}
		if p.kind == partGroups {
			groups = p.members
			a.meet(p)
			if a.sight.GroupObject != "" && !give(a.membershipRows(a.sight.GroupObject, groups)) {
				return errStop
			}
		}
		more := true
		if err := a.work.sightings(p.progress, func(s *sighting) bool {
			// Two parts may have one record, and a file may have it twice.
			if several > 1 || p.kind == partRecords {
				if met[s.id()] {
					return true
				}
				met[s.id()] = true
			}
			more = give(a.rows(s))
			return more
		}); err != nil {
			return err
		}
		if !more {
			return errStop
		}
	}
	if !give(a.givenRows(a.ledgers.all, func(op crm.Operation) bool {
		if op.Object == a.sight.GroupObject && op.Object != "" {
			m, asked := groups[foldID(op.User)]
			return asked && m.refused == ""
		}
		return a.ledgers.looked[crm.RecordID{Object: op.Object, Record: op.Record}]
	})) {
		return errStop
	}
	return nil
}

// Coverage is what was looked at, and what was not.
type Coverage struct {
	Schema     string            `json:"schema"`
	Output     string            `json:"output"`
	SHA256     string            `json:"sha256"` // of the output, as it was written
	People     string            `json:"people"`
	Started    string            `json:"started"`
	Ended      string            `json:"ended"`
	Complete   bool              `json:"complete"` // in its scope
	Calls      int64             `json:"calls"`    // of the process that wrote this
	Rows       CoverageRows      `json:"rows"`
	Accounts   []CoverageAccount `json:"accounts"`
	NotCovered []string          `json:"not_covered"`
}

// CoverageSchema is the schema of Coverage.
const CoverageSchema = "bulkrevoke/coverage/1"

// CoverageRows are how many rows there are, and what else was seen.
type CoverageRows struct {
	Revoke    int64 `json:"revoke"`
	Share     int64 `json:"share"`
	Ours      int64 `json:"ours"`
	Inherited int64 `json:"inherited"`
	Group     int64 `json:"group"`
	Role      int64 `json:"role"`
	Public    int64 `json:"public"`
}

// CoverageAccount is the coverage of an account.
type CoverageAccount struct {
	Account string         `json:"account"`
	CRM     string         `json:"crm"`
	Host    string         `json:"host"`
	Org     string         `json:"org"`
	Keys    string         `json:"keys_of"` // whose keys it was seen with
	People  int            `json:"people"`
	Calls   int64          `json:"calls"` // of its organisation, in the process that wrote this
	Ended   string         `json:"ended,omitempty"`
	Parts   []CoveragePart `json:"parts"`
}

// CoveragePart is the coverage of a part. Records that are gone meanwhile count as looked at.
type CoveragePart struct {
	Part     string `json:"part"`
	Scope    string `json:"scope"`
	Listed   int64  `json:"listed"`
	LookedAt int64  `json:"looked_at"`
	Gone     int64  `json:"gone"`
	Refused  int64  `json:"refused"`
	Skipped  int64  `json:"skipped"`
	Complete bool   `json:"complete"`
	Note     string `json:"note"`
	From     string `json:"from,omitempty"`
	Until    string `json:"until,omitempty"`
	// Fine says that the part keeps nobody from calling all of it complete.
	Fine bool `json:"-"`
}

// notCovered are what is never covered, in fixed words.
func notCovered() []string {
	return []string{
		"ownership of records, beyond the counts that stand beside the parts",
		"access by role, profile, territory or sharing rule",
		"other systems",
	}
}

// Coverage returns what was looked at so far.
func (f *Find) Coverage(counts Counts) *Coverage {
	c := &Coverage{
		Schema: CoverageSchema, People: "everybody", Started: stamp(f.started), Ended: stamp(f.opts.Now()), Complete: true, Accounts: []CoverageAccount{}, NotCovered: notCovered(),
		Rows: CoverageRows(counts), Calls: f.Calls(),
	}
	if f.opts.People != nil {
		c.People = f.opts.People.Sheet
	}
	for _, a := range f.accounts {
		acc := CoverageAccount{
			Account: a.Name, CRM: a.CRM, Host: a.Host, Org: a.identity.Org, Keys: a.identity.User, People: len(a.subjects), Calls: a.calls(), Parts: []CoveragePart{},
		}
		if a.ended != nil {
			acc.Ended, c.Complete = a.ended.Error(), false
		}
		for _, p := range a.parts {
			part := a.covered(p)
			c.Complete = c.Complete && part.Fine
			acc.Parts = append(acc.Parts, part)
		}
		c.Accounts = append(c.Accounts, acc)
		for _, never := range slices.Concat(a.sight.Never, a.told) {
			c.NotCovered = append(c.NotCovered, "account "+a.Name+": "+never)
		}
	}
	return c
}

// covered is the coverage of a part.
func (a *account) covered(p *part) CoveragePart {
	c := CoveragePart{Part: p.kind, Scope: p.scope}
	if p.kind == partLedgers {
		unread := int64(len(a.ledgers.unread))
		c.Listed, c.Refused = int64(a.ledgers.files), unread
		c.LookedAt, c.Complete, c.Note = c.Listed-unread, unread == 0, strings.Join(a.ledgers.unread, "; ")
		c.Fine = c.Complete
		return c
	}
	c.Note = p.refused
	switch {
	case p.skip != "":
		c.Note, c.Fine = p.skip, p.fine
		if p.progress != nil {
			c.Skipped = max(0, p.count)
		}
		return c
	case p.progress == nil:
		return c
	}
	c.Listed, c.LookedAt, c.Gone, c.Refused = p.n, p.looked+p.gone, p.gone, p.progress.refused
	switch {
	case p.kind == partGroups:
		c.Listed = int64(len(a.members()))
	case p.kind == partRecords:
		c.Listed = p.file.ids
	case p.kind == partModule && !p.ended && p.count > c.Listed:
		c.Listed = p.count
	}
	c.Skipped = c.Listed - c.LookedAt - c.Refused
	c.Complete = p.ended && p.refused == "" && p.short == 0 && c.LookedAt == c.Listed
	c.Fine = c.Complete
	for _, why := range sortedKeys(p.why) {
		c.Note = crm.Join(c.Note, count64(p.why[why], "refused")+": "+why)
	}
	if p.short > 0 {
		c.Note = crm.Join(c.Note, count64(p.short, "more counted by the CRM than it listed"))
	}
	if !p.ended && p.refused == "" && c.Skipped > 0 {
		c.Note = crm.Join(c.Note, "stopped before the rest; run the same command again to go on")
	}
	c.Note = crm.Join(c.Note, p.note)
	if p.owned != nil {
		owned := int64(0)
		for _, n := range p.owned {
			owned += n
		}
		c.Note = crm.Join(c.Note, count64(owned, "of its records owned by these people"))
	}
	if !p.first.IsZero() {
		c.From, c.Until = stamp(p.first), stamp(p.latest)
	}
	return c
}

// stamp is a moment as files have it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func count64(n int64, what string) string { return fmt.Sprintf("%d %s", n, what) }

func sortedKeys(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
