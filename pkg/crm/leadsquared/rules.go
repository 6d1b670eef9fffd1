package leadsquared

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Rules are the rules of an account. They need neither its keys nor its host.
type Rules struct {
	entries, users int        // in a call
	revoke         crm.Access // of a revoke that names none
}

var _ crm.Rules = Rules{}

// NewRules returns the rules of an account with that configuration.
func NewRules(cfg Config) (Rules, error) {
	if cfg.MaxEntries < 0 || cfg.MaxUsers < 0 {
		return Rules{}, errors.New("leadsquared: entries and users per call can not be negative")
	}
	r := Rules{entries: max(cfg.MaxEntries, 1), users: cmp.Or(cfg.MaxUsers, defaultUsers), revoke: cmp.Or(cfg.RevokeAccess, crm.Read)}
	if r.revoke != crm.Read && r.revoke != crm.Write {
		return Rules{}, fmt.Errorf("leadsquared: access of revokes: read or write, not %s", r.revoke)
	}
	return r, nil
}

// Key names the target: nobody else's share is touched by a change of one. A sales
// group is one key as a whole, because its members are looked up together.
func (Rules) Key(op crm.Operation) crm.Target {
	key := op.Target()
	switch op.Object {
	case crm.SalesGroup:
		key = key.Whole()
	case crm.Opportunity:
		key.Context = ""
	}
	return key
}

// Cost is a change and a status look for each operation, both shared by revokes
// that share a call; for a sales group a look, the calls that its users fill, and a
// confirming look.
func (r Rules) Cost(op crm.Operation, n int64, confirm bool) float64 {
	looks := 0.0
	if confirm {
		looks = 1
	}
	if op.Object == crm.SalesGroup {
		most := int64(r.users)
		return 1 + float64((n+most-1)/most) + looks
	}
	_, most := r.Bundle(op)
	return float64(n) * (1 + looks) / float64(max(most, 1))
}

// Bundle lets revokes of one kind of object share a call, as many as the
// configuration allows. Shares go alone: one that is refused must not be sent
// again with others. Sales groups go by their key.
func (r Rules) Bundle(op crm.Operation) (name string, most int) {
	if op.Action != crm.Revoke || (op.Object != crm.Lead && op.Object != crm.Opportunity) {
		return "", 0
	}
	return "revoke/" + op.Object, r.entries
}

// Shows says that the CRM shows who is in a sales group, and who has a lead or an
// opportunity to nobody.
func (Rules) Shows(op crm.Operation) bool { return op.Object == crm.SalesGroup }

// Nothing gets near a URL or a body that is neither a lead number nor a GUID. They are
// checked for every row of a sheet, and by hand, which takes a tenth of the time of a
// regular expression.

// isLeadNumber says whether s is 1 to 19 digits, without zeros before them.
func isLeadNumber(s string) bool {
	return s != "" && len(s) <= 19 && (s[0] != '0' || len(s) == 1) && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// isGUID says whether s is a GUID in lower case, without braces.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// Check reads the object by any of its names, brings GUIDs to lower case, fills in
// the level of a revoke and clears what only describes a share from a revoke. On a
// share, a value that would not be sent makes the operation invalid. It sends
// nothing; the error is a *crm.FieldError.
func (r Rules) Check(op crm.Operation) (crm.Operation, error) {
	if op.Action != crm.Revoke && op.Action != crm.Share {
		return op, crm.Fault(crm.ColumnAction, "LeadSquared knows revoke and share, not "+op.Action.String())
	}
	object, ok := Object(op.Object)
	if !ok {
		return op, crm.Fault(crm.ColumnObject, noObject(op.Object))
	}
	op.Object = object

	// What it is about: record, context and user.
	var err error
	if object == crm.Lead {
		op.Record, err = checkLead(op.Record)
	} else {
		op.Record, err = checkGUID(crm.ColumnRecord, op.Record)
	}
	switch {
	case err != nil:
		return op, err
	case object == crm.Lead && op.Context == "":
		return op, crm.Fault(crm.ColumnContext, "a lead is shared in the context of an activity: its GUID is needed")
	case object == crm.Lead:
		op.Context, err = checkGUID(crm.ColumnContext, op.Context)
	case op.Action == crm.Share && op.Context != "":
		return op, crm.Fault(crm.ColumnContext, "only leads are shared in the context of an activity")
	default:
		op.Context = ""
	}
	switch {
	case err != nil:
		return op, err
	case op.User == "":
		return op, crm.Fault(crm.ColumnUser, "is empty")
	case !strings.Contains(op.User, "@"):
		op.User, err = checkGUID(crm.ColumnUser, op.User)
	}
	if err != nil {
		return op, err
	}

	// How much is given or taken, and for how long.
	group := object == crm.SalesGroup
	if op.Action == crm.Revoke {
		op.Minutes, op.Related, op.Permissions = 0, crm.Unsaid, 0
		if group {
			op.Access = crm.AccessUnset
		} else if op.Access == crm.AccessUnset {
			op.Access = r.revoke
		}
	}
	switch {
	case op.Related != crm.Unsaid:
		return op, crm.Fault(crm.ColumnRelated, "LeadSquared has no shares of related records")
	case group && op.Access != crm.AccessUnset:
		return op, crm.Fault(crm.ColumnAccess, "a member of a sales group has permissions, not a level of access")
	case group && op.Minutes != 0:
		return op, crm.Fault(crm.ColumnMinutes, "membership of a sales group has no duration")
	case group:
		return op, nil
	case op.Access == crm.AccessUnset:
		return op, crm.Fault(crm.ColumnAccess, "a share needs read or write")
	case op.Access != crm.Read && op.Access != crm.Write:
		return op, crm.Fault(crm.ColumnAccess, "LeadSquared knows read and write, not "+op.Access.String())
	case op.Minutes < 0:
		return op, crm.Fault(crm.ColumnMinutes, "can not be negative")
	case op.Permissions != 0:
		return op, crm.Fault(crm.ColumnPermissions, "only members of a sales group have permissions")
	}
	return op, nil
}

// checkLead checks a ProspectAutoId. The lead's other id, a GUID, is the mistake
// that people make most.
func checkLead(s string) (string, error) {
	if isLeadNumber(s) {
		return s, nil
	}
	if _, ok := readGUID(s); ok {
		return s, crm.Fault(crm.ColumnRecord, crm.Quote(s)+" is a lead's GUID; the lead number (ProspectAutoId, digits only) is needed")
	}
	return s, crm.FaultID(crm.ColumnRecord, s, "a lead number (ProspectAutoId) is 1 to 19 digits and nothing else")
}

func checkGUID(column, s string) (string, error) {
	if id, ok := readGUID(s); ok {
		return id, nil
	}
	reason := "must be a GUID, such as f2dbf1d5-bbab-418b-bddc-4c92ecdef214"
	if column == crm.ColumnUser {
		reason = "must be an e-mail address or a user's GUID, such as f2dbf1d5-bbab-418b-bddc-4c92ecdef214"
	}
	return s, crm.FaultID(column, s, reason)
}

// readGUID returns a GUID in lower case. Braces around it are the form in which
// other Microsoft tools export them.
func readGUID(s string) (string, bool) {
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
		s = s[1 : len(s)-1]
	}
	s = strings.ToLower(s)
	return s, isGUID(s)
}

// Object returns the object that a word of a sheet stands for, without regard to case, spaces, "_" and
// "-". The numbers are those of the field Entity.
func Object(s string) (object string, ok bool) {
	switch s {
	case crm.Lead, crm.Opportunity, crm.SalesGroup:
		return s, true // as nearly every sheet has it
	}
	switch strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(s)) {
	case "lead", "leads", "1":
		return crm.Lead, true
	case "opportunity", "opportunities", "5":
		return crm.Opportunity, true
	case "salesgroup", "salesgroups", "group":
		return crm.SalesGroup, true
	}
	return "", false
}

// noObject says why a word is no object.
func noObject(word string) string {
	const choice = "LeadSquared shares lead, opportunity and sales_group"
	if strings.HasPrefix(strings.ToLower(word), "contact") || strings.HasPrefix(strings.ToLower(word), "prospect") {
		return crm.Quote(word) + " is no object here, people are leads: write lead; " + choice
	}
	return crm.Quote(word) + " is no object of it; " + choice
}
