package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// zohoPrincipal is somebody or something as Zoho names it in a reply.
type zohoPrincipal struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	Type string `json:"type,omitempty"`
	ZUID string `json:"zuid,omitempty"`
}

// zohoThrough is the record through which somebody has a record.
type zohoThrough struct {
	Module zohoPrincipal `json:"module"`
	ID     string        `json:"id"`
	Name   string        `json:"name,omitempty"`
}

// zohoShare is an entry of a record's list as a read shows it.
type zohoShare struct {
	SharedWith *zohoPrincipal `json:"shared_with,omitempty"`
	User       *zohoPrincipal `json:"user,omitempty"`
	Related    bool           `json:"share_related_records"`
	Through    *zohoThrough   `json:"shared_through,omitempty"`
	Time       string         `json:"shared_time,omitempty"`
	Permission string         `json:"permission"`
	By         *zohoPrincipal `json:"shared_by,omitempty"`
	Type       string         `json:"type,omitempty"`
}

// zohoPermissions are the words for the levels, at the index of their level.
var zohoPermissions = []string{crm.Read: "read_only", crm.Write: "read_write", crm.Full: "full_access"}

var (
	// zohoModules are the modules that every organisation has and whose records can be
	// shared. Custom ones exist where they were seeded.
	zohoModules = []string{
		"Leads", "Accounts", "Contacts", "Deals", "Campaigns", "Cases", "Solutions", "Products", "Vendors",
		"Price_Books", "Quotes", "Sales_Orders", "Purchase_Orders", "Invoices",
	}
	zohoNotShared = []string{"Tasks", "Events", "Calls", "Activities"}  // no record of theirs can be shared
	zohoNoModules = []string{crm.Lead, crm.Opportunity, crm.SalesGroup} // words of the other vendor's sheets
)

// share answers at a record's shares.
func (z *zoho) share(x *exchange, place zohoPlace) *reply {
	if x.r.Method == http.MethodGet {
		return z.read(x, place, x.query)
	}
	if wrong := z.exists(place); wrong != nil {
		return wrong.reply()
	}
	if !writes(x.r.Method) {
		return zohoWrongVerb().reply()
	}
	if !x.fault.carriedOut() {
		return nil
	}
	rec := z.record(place.key())
	rec.advance(z.server.cfg.Now())
	if rec.job != nil {
		return zohoProblem(z.cfg.BusyStatus, "CANNOT_PROCESS", "Scheduler is running").reply()
	}
	if x.r.Method != http.MethodDelete {
		return z.write(x, place, rec)
	}
	if len(rec.direct()) == 0 {
		message := "No sharing through this record is available to revoke"
		if z.cfg.NothingCode == "BAD_REQUEST" {
			message += "."
		}
		return zohoProblem(http.StatusBadRequest, z.cfg.NothingCode, message).reply()
	}
	if err := z.accept(x, &zohoJob{Key: place.key(), Verb: http.MethodDelete}); err != nil {
		return notWritten(err)
	}
	return jsonReply(http.StatusOK, map[string]any{"share": zohoSuccess("Sharing Revoked", "id", place.record)})
}

// exists says why a place can not be addressed, nil if it can.
func (z *zoho) exists(place zohoPlace) *zohoAnswer {
	closed := z.server.cfg.Closed
	switch {
	case slices.Contains(zohoNotShared, place.module), z.settings[place.module].Linking, z.settings[place.module].NoShares:
		return scopeMissing()
	case !zohoModule.MatchString(place.module), slices.Contains(zohoNoModules, place.module),
		z.settings[place.module].NoAPI, !z.modules[place.module] && (closed || !slices.Contains(zohoModules, place.module)):
		return zohoProblem(http.StatusBadRequest, "INVALID_MODULE", "the module name given seems to be invalid", "resource_path_index", 0)
	case !zohoID.MatchString(place.record), z.vanished[place.key()], closed && !z.existsRecord(place.module, place.record):
		return zohoProblem(http.StatusBadRequest, "INVALID_DATA", "ENTITY_ID_INVALID", "resource_path_index", 1)
	}
	return nil
}

// read answers with a record's list. If that gets to the client it knows the list now,
// and a fault may let somebody else change it after that.
func (z *zoho) read(x *exchange, place zohoPlace, query url.Values) *reply {
	if wrong := z.exists(place); wrong != nil {
		return wrong.reply()
	}
	if view := query.Get("view"); view != "" && view != "summary" {
		return badQuery("view").reply()
	}
	rec := z.record(place.key())
	rec.advance(z.server.cfg.Now())
	if rec.job != nil && z.cfg.BusyReads {
		return zohoProblem(http.StatusBadRequest, "INVALID_DATA", "Scheduler is running.").reply()
	}
	rep := z.show(place, rec, query.Get("sharedTo"))
	if x.fault.loses() {
		return rep
	}
	rec.looked, rec.seen = true, rec.changes
	if !x.fault.is(FaultMeddle) {
		return rep
	}
	var m Meddling
	if err := decodeStrictly([]byte(x.fault.Body), &m); err != nil {
		z.server.broken = fmt.Errorf("read the body of fault %s: %w", FaultMeddle, err)
	} else if next := m.apply(rec.grants()); !slices.Equal(next, rec.grants()) {
		z.meddle(place.module, place.record, next)
	}
	return rep
}

// show is the reply that shows a record's list, or the entries of one recipient. What
// the vendor leaves out of an entry at times is left out of every second one.
func (z *zoho) show(place zohoPlace, rec *zohoRecord, sharedTo string) *reply {
	list := []zohoShare{}
	for i, h := range rec.list {
		if place.usersOnly() && h.Kind != crm.KindUser || sharedTo != "" && h.ID != sharedTo {
			continue
		}
		s := zohoShare{Related: h.Related, Permission: zohoPermissions[h.Access]}
		who := &zohoPrincipal{Name: h.Kind + " " + h.ID, ID: h.ID}
		switch {
		case place.usersOnly():
			s.User = who
		case h.Kind != crm.KindPublic:
			who.Type = h.Kind + "s"
			s.SharedWith = who
		}
		if place.typed() {
			s.Type = h.Type
		}
		if module, id, inherited := strings.Cut(h.Through, "/"); inherited {
			s.Through = &zohoThrough{Module: zohoPrincipal{Name: module, ID: "5000000000000000700"}, ID: id}
		}
		if i%2 == 0 {
			if h.Kind == crm.KindUser {
				who.ZUID = zuid(h.ID)
			}
			if s.Through == nil {
				s.Through = &zohoThrough{Module: zohoPrincipal{Name: place.module, ID: "5000000000000000701"}, ID: place.record, Name: "Record"}
			}
			s.Time = h.since.Format(time.RFC3339)
			s.By = &zohoPrincipal{Name: "Admin", ID: z.cfg.Owner.ID, ZUID: zuid(z.cfg.Owner.ID)}
		}
		list = append(list, s)
	}
	if len(list) == 0 && !z.cfg.EmptyList {
		return &reply{status: http.StatusNoContent}
	}
	body := map[string]any{"share": list}
	if place.version == 2 { // which may list some users who do not have the record
		others := []zohoPrincipal{}
		for _, p := range z.people.list {
			if p.reachable() && len(others) < 5 && !contains(rec.grants(), crm.Grant{Kind: crm.KindUser, ID: p.ID}) {
				others = append(others, zohoPrincipal{Name: p.Email, ID: p.ID})
			}
		}
		body["shareable_user"] = others
	}
	return jsonReply(http.StatusOK, body)
}

// meddle puts a list in force that somebody else made.
func (z *zoho) meddle(module, id string, grants []crm.Grant) {
	l := &zohoList{Module: module, Record: id, At: z.server.cfg.Now(), Grants: grants}
	z.server.keep(record{Zoho: &zohoEvent{List: l}})
	z.enlist(l)
}

// accept takes a write, with what its fault has in store for it.
func (z *zoho) accept(x *exchange, job *zohoJob) error {
	job.At = z.server.cfg.Now()
	job.Due = job.At.Add(max(0, z.cfg.Processing()))
	job.Never, job.Void = x.fault.is(FaultNeverProcess), x.fault.is(FaultProcessFailed)
	if err := z.server.write(record{Zoho: &zohoEvent{Job: job}}); err != nil {
		return err
	}
	z.take(job)
	return nil
}
