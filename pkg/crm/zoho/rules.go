package zoho

import (
	"regexp"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Rules are the rules of an account: the same for all of them.
type Rules struct{}

var _ crm.Rules = Rules{}

// Key is the record: its list of shares is written as a whole.
func (Rules) Key(op crm.Operation) crm.Target { return op.Target().Whole() }

func key(op crm.Operation) string { return op.Object + "/" + op.Record }

// Bundle lets no other record into the call.
func (Rules) Bundle(crm.Operation) (name string, most int) { return "", 0 }

// Cost is a look, a write and a confirming look for all operations of a record.
func (Rules) Cost(_ crm.Operation, _ int64, confirm bool) float64 {
	if confirm {
		return 3
	}
	return 2
}

// Shows says that the CRM shows who has any record.
func (Rules) Shows(crm.Operation) bool { return true }

// Nothing that does not match one of these gets near a URL or a body.
var (
	moduleName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)
	number     = regexp.MustCompile(`^[0-9]{1,20}$`)
)

// StandardModules returns the API names of the modules that every organisation has
// and whose records can be shared.
func StandardModules() []string {
	return []string{
		"Leads", "Accounts", "Contacts", "Deals", "Campaigns", "Cases", "Solutions", "Products", "Vendors",
		"Price_Books", "Quotes", "Sales_Orders", "Purchase_Orders", "Invoices",
	}
}

// Check reads the names of the standard modules without regard to case, leaves
// those of custom modules as they are, and clears what only describes a share from
// a revoke. On a share, a value that would not be sent makes the operation invalid.
// It sends nothing; the error is a *crm.FieldError.
func (Rules) Check(op crm.Operation) (crm.Operation, error) {
	if op.Action != crm.Revoke && op.Action != crm.Share && op.Action != crm.RevokeAll {
		return op, crm.Fault(crm.ColumnAction, "Zoho knows revoke, share and revoke_all, not "+op.Action.String())
	}
	var reason string
	var ok bool
	if op.Object, reason = readModule(op.Object); reason != "" {
		return op, crm.Fault(crm.ColumnObject, reason)
	}
	if op.Record, ok = readID(op.Record); !ok {
		return op, crm.FaultID(crm.ColumnRecord, op.Record, "a Zoho record id is 1 to 20 digits and nothing else")
	}
	switch {
	case op.Action == crm.RevokeAll && op.User != "":
		return op, crm.Fault(crm.ColumnUser, "revoke_all takes the record from everybody: it must be empty")
	case op.Action != crm.RevokeAll && !strings.Contains(op.User, "@"):
		if op.User, ok = readID(op.User); !ok {
			return op, crm.FaultID(crm.ColumnUser, op.User, "must be an e-mail address or a Zoho user id, 1 to 20 digits")
		}
	}
	if op.Action != crm.Share {
		op.Context, op.Access, op.Minutes, op.Related, op.Permissions = "", crm.AccessUnset, 0, crm.Unsaid, 0
		return op, nil
	}
	switch {
	case op.Access < crm.Read || op.Access > crm.Full:
		return op, crm.Fault(crm.ColumnAccess, "a share needs read, write or full")
	case op.Minutes != 0:
		return op, crm.Fault(crm.ColumnMinutes, "Zoho's shares have no duration")
	case op.Context != "":
		return op, crm.Fault(crm.ColumnContext, "Zoho's shares have no context")
	case op.Permissions != 0:
		return op, crm.Fault(crm.ColumnPermissions, "only members of a LeadSquared sales group have permissions")
	}
	return op, nil
}

// readID returns an id in its one spelling: without the "zcrm_" of exports. One with zeros
// before it is none.
func readID(s string) (id string, ok bool) {
	id = PlainID(s)
	return id, number.MatchString(id) && crm.MistakenID(id) == ""
}

// PlainID takes off the "zcrm_" that exports put before ids.
func PlainID(s string) string {
	const mark = "zcrm_"
	if len(s) > len(mark) && strings.EqualFold(s[:len(mark)], mark) && number.MatchString(s[len(mark):]) {
		return s[len(mark):]
	}
	return s
}

// Module reports whether a word names a module that every organisation has, whether
// its records can be shared or not. A blank stands for the "_" of an API name.
func Module(word string) bool {
	name, _ := standardModule(word)
	return name != ""
}

// standardModule returns the API name of a module that every organisation has, "" for
// any other, and whether its records can be shared by themselves.
func standardModule(word string) (name string, shared bool) {
	word = strings.ReplaceAll(word, " ", "_")
	named := func(module string) bool { return strings.EqualFold(module, word) }
	if i := slices.IndexFunc(StandardModules(), named); i >= 0 {
		return StandardModules()[i], true
	}
	activities := []string{"Tasks", "Events", "Meetings", "Calls", "Activities"}
	if i := slices.IndexFunc(activities, named); i >= 0 {
		return activities[i], false
	}
	return "", false
}

// readModule returns a module's name as it goes into a URL, or why it can not.
func readModule(s string) (name, reason string) {
	standard, shared := standardModule(s)
	foreign := []string{"lead", "opportunity", "opportunities", "sales_group", "salesgroup"}
	switch {
	case s == "":
		return s, "is empty"
	case shared:
		return standard, ""
	case standard != "":
		return s, "Zoho shares no activities by themselves: share the record that they belong to, with its related records"
	case slices.Contains(foreign, strings.ToLower(strings.ReplaceAll(s, " ", "_"))):
		return s, "this is a LeadSquared word; Zoho needs the API name of a module, such as Leads, Contacts or Deals"
	case !moduleName.MatchString(s):
		return s, crm.Quote(s) + " must be the API name of a module: a letter, then letters, digits and _, 64 at most"
	}
	return s, ""
}
