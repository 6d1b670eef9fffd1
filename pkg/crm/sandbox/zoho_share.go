package sandbox

import (
	"net/http"
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

// zohoModules are the modules that every organisation has and whose records can be
// shared. Custom ones exist where they were seeded.
var zohoModules = []string{
	"Leads", "Accounts", "Contacts", "Deals", "Campaigns", "Cases", "Solutions", "Products", "Vendors",
	"Price_Books", "Quotes", "Sales_Orders", "Purchase_Orders", "Invoices",
}

// zohoNotShared are modules whose records can not be shared, zohoNoModules the
// words of the other vendor's sheets.
var (
	zohoNotShared = []string{"Tasks", "Events", "Calls", "Activities"}
	zohoNoModules = []string{crm.Lead, crm.Opportunity, crm.SalesGroup}
)

// share answers at a record's shares.
func (z *zoho) share(x *exchange, place zohoPlace) reply {
	z.server.mu.Lock()
	defer z.server.mu.Unlock()
	if wrong := z.exists(place); wrong != nil {
		return wrong.reply()
	}
	if x.r.Method == http.MethodGet {
		rep, looked := z.look(place, x.query.Get("view"), x.query.Get("sharedTo"))
		if looked && arrives(x.fault) {
			z.looked(x, place)
		}
		return rep
	}
	if !writes(x.r.Method) {
		return zohoWrongVerb().reply()
	}
	if !x.fault.carriedOut() {
		return reply{}
	}
	rec := z.record(place.key())
	rec.settle(z.server.cfg.Now())
	if rec.job != nil {
		return (&zohoError{status: z.cfg.BusyStatus, Code: "CANNOT_PROCESS", Message: "Scheduler is running"}).reply()
	}
	if x.r.Method == http.MethodDelete {
		return z.revokeAll(x, place, rec)
	}
	return z.write(x, place, rec)
}

// arrives says that the true answer to a read gets to its client.
func arrives(f *Fault) bool {
	return !f.replaces() && !f.is(FaultResetBefore) && !f.is(FaultResetAfter) && !f.is(FaultHang) && !f.is(FaultTruncate)
}

// exists says why a place can not be addressed, nil if it can.
func (z *zoho) exists(place zohoPlace) *zohoError {
	switch {
	case slices.Contains(zohoNotShared[:4], place.module):
		return &zohoError{status: http.StatusUnauthorized, Code: "OAUTH_SCOPE_MISMATCH",
			Message: "invalid oauth scope to access this URL"}
	case !zohoModule.MatchString(place.module), slices.Contains(zohoNoModules, place.module),
		!z.modules[place.module] && (z.server.cfg.Closed || !slices.Contains(zohoModules, place.module)):
		return &zohoError{status: http.StatusBadRequest, Code: "INVALID_MODULE",
			Message: "the module name given seems to be invalid", Details: map[string]any{"resource_path_index": 0}}
	case !zohoID.MatchString(place.record),
		z.server.cfg.Closed && !z.record(place.key()).known:
		return &zohoError{status: http.StatusBadRequest, Code: "INVALID_DATA",
			Message: "ENTITY_ID_INVALID", Details: map[string]any{"resource_path_index": 1}}
	}
	return nil
}

// look reads a record's list and says whether that succeeded.
func (z *zoho) look(place zohoPlace, view, sharedTo string) (rep reply, looked bool) {
	if view != "" && view != "summary" {
		return badQuery("view").reply(), false
	}
	rec := z.record(place.key())
	rec.settle(z.server.cfg.Now())
	if rec.job != nil && z.cfg.BusyReads {
		return (&zohoError{status: http.StatusBadRequest, Code: "INVALID_DATA", Message: "Scheduler is running."}).reply(), false
	}
	list := []zohoShare{}
	for i, h := range rec.list {
		if place.version.usersOnly() && h.Kind != crm.KindUser || sharedTo != "" && h.ID != sharedTo {
			continue
		}
		list = append(list, z.show(place, h, i%2 == 0))
	}
	if len(list) == 0 && !z.cfg.EmptyList {
		return reply{status: http.StatusNoContent}, true
	}
	body := map[string]any{"share": list}
	if place.version == 2 {
		body["shareable_user"] = z.shareable(rec)
	}
	return jsonReply(http.StatusOK, body), true
}

// show returns an entry as a read shows it. What the vendor leaves out at times is
// left out unless all is asked for.
func (z *zoho) show(place zohoPlace, h held, all bool) zohoShare {
	s := zohoShare{Related: h.Related, Permission: zohoPermissions[h.Access]}
	who := &zohoPrincipal{Name: h.Kind + " " + h.ID, ID: h.ID}
	if h.Kind == crm.KindUser && all {
		who.ZUID = zuid(h.ID)
	}
	switch {
	case place.version.usersOnly():
		s.User = who
	case h.Kind != crm.KindPublic:
		who.Type = h.Kind + "s"
		s.SharedWith = who
	}
	if place.version.typed() {
		s.Type = h.Type
	}
	if module, id, inherited := strings.Cut(h.Through, "/"); inherited {
		s.Through = &zohoThrough{Module: zohoPrincipal{Name: module, ID: "5000000000000000700"}, ID: id}
	}
	if !all {
		return s
	}
	if s.Through == nil {
		s.Through = &zohoThrough{Module: zohoPrincipal{Name: place.module, ID: "5000000000000000701"}, ID: place.record, Name: "Record"}
	}
	s.Time = h.since.Format(time.RFC3339)
	s.By = &zohoPrincipal{Name: "Admin", ID: z.cfg.Owner.ID, ZUID: zuid(z.cfg.Owner.ID)}
	return s
}

// shareable lists some users who do not have a record, as v2 may.
func (z *zoho) shareable(rec *zohoRecord) []zohoPrincipal {
	list := []zohoPrincipal{}
	for _, u := range z.people.list {
		if u.reachable() && len(list) < 5 && !contains(rec.grants(), crm.Grant{Kind: crm.KindUser, ID: u.ID}) {
			list = append(list, zohoPrincipal{Name: u.Email, ID: u.ID})
		}
	}
	return list
}

// looked notes that the client knows the list now, and lets somebody else change
// it after that, where a fault or the configuration says so.
func (z *zoho) looked(x *exchange, place zohoPlace) {
	rec := z.record(place.key())
	rec.looked, rec.seen = true, rec.changes
	next := rec.grants()
	if x.fault.is(FaultMeddle) {
		meddling, err := parseMeddling(x.fault.Body)
		if err != nil {
			z.server.journalErr = err
			return
		}
		next = meddling.apply(next)
	}
	if z.cfg.AfterLook != nil {
		next = z.cfg.AfterLook(place.module, place.record, next)
	}
	if !slices.Equal(next, rec.grants()) {
		z.meddle(place.module, place.record, next)
	}
}

// meddle puts a list in force that somebody else made.
func (z *zoho) meddle(module, record string, grants []crm.Grant) {
	l := &zohoList{Module: module, Record: record, At: z.server.cfg.Now(), Grants: grants}
	if err := z.journal(zohoEvent{List: l}); err != nil && z.server.journalErr == nil {
		z.server.journalErr = err
	}
	z.enlist(l)
}

// revokeAll takes the record from everybody.
func (z *zoho) revokeAll(x *exchange, place zohoPlace, rec *zohoRecord) reply {
	if len(rec.direct()) == 0 {
		message := "No sharing through this record is available to revoke"
		if z.cfg.NothingCode == "BAD_REQUEST" {
			message += "."
		}
		return (&zohoError{status: http.StatusBadRequest, Code: z.cfg.NothingCode, Message: message}).reply()
	}
	if err := z.accept(x, &zohoJob{Key: place.key(), Verb: http.MethodDelete}); err != nil {
		return journalFailed(err)
	}
	return jsonReply(http.StatusOK, map[string]any{"share": zohoError{
		Code: "SUCCESS", Details: map[string]any{"id": place.record}, Message: "Sharing Revoked", Status: "success",
	}})
}

// accept takes a write, with what its fault has in store for it.
func (z *zoho) accept(x *exchange, job *zohoJob) error {
	job.At = z.server.cfg.Now()
	job.Due = job.At.Add(max(0, z.cfg.Processing()))
	job.Never, job.Void = x.fault.is(FaultNeverProcess), x.fault.is(FaultProcessFailed)
	if err := z.journal(zohoEvent{Job: job}); err != nil {
		return err
	}
	z.take(job)
	return nil
}
