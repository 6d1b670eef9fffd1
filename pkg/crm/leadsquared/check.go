package leadsquared

import (
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The canonical names of the columns that Check finds fault with.
const (
	colAction      = "action"
	colObject      = "object"
	colRecord      = "record_id"
	colUser        = "user"
	colContext     = "context_id"
	colAccess      = "access"
	colMinutes     = "duration_minutes"
	colRelated     = "share_related"
	colPermissions = "group_permissions"
)

// Nothing gets near a URL or a body that is neither a lead number nor a GUID. They are
// checked for every row of a sheet, and by hand, which takes a tenth of the time of a
// regular expression.

// isLeadNumber says whether s is 1 to 19 digits.
func isLeadNumber(s string) bool {
	return s != "" && len(s) <= 19 && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
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
func (p *Provider) Check(op crm.Operation) (crm.Operation, error) {
	if op.Action != crm.Revoke && op.Action != crm.Share {
		return op, fault(colAction, "LeadSquared knows revoke and share, not "+op.Action.String())
	}
	object, ok := Object(op.Object)
	if !ok {
		return op, fault(colObject, noObject(op.Object))
	}
	op.Object = object
	var err error
	if op, err = checkIDs(op); err != nil {
		return op, err
	}
	if op.Action == crm.Revoke {
		op.Minutes, op.Related, op.Permissions = 0, crm.Unsaid, 0
	}
	if op.Related != crm.Unsaid {
		return op, fault(colRelated, "LeadSquared has no shares of related records")
	}
	return p.checkLevel(op)
}

// checkIDs checks what the operation is about: record, context and user.
func checkIDs(op crm.Operation) (crm.Operation, error) {
	var err error
	if op.Object == crm.Lead {
		op.Record, err = checkLead(op.Record)
	} else {
		op.Record, err = checkGUID(colRecord, op.Record)
	}
	if err != nil {
		return op, err
	}
	switch {
	case op.Object == crm.Lead && op.Context == "":
		return op, fault(colContext, "a lead is shared in the context of an activity: its GUID is needed")
	case op.Object == crm.Lead:
		if op.Context, err = checkGUID(colContext, op.Context); err != nil {
			return op, err
		}
	case op.Action == crm.Share && op.Context != "":
		return op, fault(colContext, "only leads are shared in the context of an activity")
	default:
		op.Context = ""
	}
	switch {
	case op.User == "":
		return op, fault(colUser, "is empty")
	case strings.Contains(op.User, "@"):
		return op, nil
	}
	op.User, err = checkGUID(colUser, op.User)
	return op, err
}

// checkLevel checks how much is given or taken, and for how long.
func (p *Provider) checkLevel(op crm.Operation) (crm.Operation, error) {
	if op.Object == crm.SalesGroup {
		return checkGroup(op)
	}
	switch {
	case op.Access == crm.AccessUnset && op.Action == crm.Share:
		return op, fault(colAccess, "a share needs read or write")
	case op.Access == crm.AccessUnset:
		op.Access = p.cfg.RevokeAccess
	case op.Access != crm.Read && op.Access != crm.Write:
		return op, fault(colAccess, "LeadSquared knows read and write, not "+op.Access.String())
	}
	switch {
	case op.Minutes < 0:
		return op, fault(colMinutes, "can not be negative")
	case op.Permissions != 0:
		return op, fault(colPermissions, "only members of a sales group have permissions")
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
		return s, fault(colRecord, crm.Quote(s)+" is a lead's GUID; the lead number (ProspectAutoId, digits only) is needed")
	}
	return s, faultID(colRecord, s, "a lead number (ProspectAutoId) is 1 to 19 digits and nothing else")
}

func checkGUID(column, s string) (string, error) {
	if id, ok := readGUID(s); ok {
		return id, nil
	}
	reason := "must be a GUID, such as f2dbf1d5-bbab-418b-bddc-4c92ecdef214"
	if column == colUser {
		reason = "must be an e-mail address or a user's GUID, such as f2dbf1d5-bbab-418b-bddc-4c92ecdef214"
	}
	return s, faultID(column, s, reason)
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

// faultID is the fault of an id: the usual mistake that it is, else the given reason.
func faultID(column, s, reason string) error {
	switch {
	case s == "":
		return fault(column, "is empty")
	case crm.MistakenID(s) != "":
		return fault(column, crm.Quote(s)+" "+crm.MistakenID(s))
	}
	return fault(column, reason+": "+crm.Quote(s))
}

func fault(column, reason string) error {
	return &crm.FieldError{Column: column, Reason: reason}
}

// Key names the target: nobody else's share is touched by a change of one. A sales
// group is one key as a whole, because its members are looked up together.
func (p *Provider) Key(op crm.Operation) string {
	switch op.Object {
	case crm.Lead:
		return strings.Join([]string{op.Object, op.Record, op.Context, op.User}, "/")
	case crm.SalesGroup:
		return op.Object + "/" + op.Record
	}
	return strings.Join([]string{op.Object, op.Record, op.User}, "/")
}
