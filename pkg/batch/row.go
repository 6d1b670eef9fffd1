package batch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/plan"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Row is an intent on its way into the ledger, or the reason why there is none.
type Row struct {
	Line    int    // where it stands in its source, for messages; 0 is its place, from 1 on
	Account string // "" is the account of rows that name none
	// Op is what to do. Its User is empty while only the address is known; with both, the
	// id counts.
	Op    crm.Operation
	Email string
	// Due is when its date comes, zero where it has none: it is not sent before. LastDay is
	// the date that this follows from, where it is somebody's last day, as 2006-01-02.
	Due     time.Time
	LastDay string
	// Code and Problem, if Code is not empty, say why the row is never sent.
	Code, Problem string
	// Column and Value are the cell at fault, as far as one is.
	Column, Value string

	cells    []string // as the result repeats them
	unstated bool     // a revoke that named no access, and is sent with the account's default
	marks    []ledger.Mark
}

// rowColumns are the columns that a result has of rows that come from no sheet.
func rowColumns() []string {
	return []string{"action", "object", "record_id", "context_id", "user", "access", "duration_minutes", "share_related", "group_permissions", "account", "not_before", "last_day"}
}

// written returns the row as a sheet has it, in rowColumns.
func (r Row) written() []string {
	f := r.fields()
	return []string{f.Action, f.Object, f.Record, f.Context, cmp.Or(f.User, f.Email), f.Access, f.Duration, f.Related, f.Permissions, f.Account, f.NotBefore, f.LastDay}
}

// fields returns what stands in a sheet for such a row.
func (r Row) fields() sheet.Fields {
	f := sheet.Fields{
		Action: r.Op.Action.String(), Object: r.Op.Object, Record: r.Op.Record, User: r.Op.User, Email: r.Email, Context: r.Op.Context,
		Access: r.Op.Access.String(), Related: r.Op.Related.String(), Permissions: r.Op.Permissions.String(), Account: r.Account,
	}
	if r.Op.Minutes != 0 {
		f.Duration = strconv.Itoa(r.Op.Minutes)
	}
	if f.LastDay = r.LastDay; f.LastDay == "" && !r.Due.IsZero() {
		f.NotBefore = r.Due.Format(time.RFC3339)
	}
	return f
}

// checked finds the account of a row, and has its rules check the row. The error is that
// of an account which can not be worked with.
func (b *Batch) checked(r Row) (Row, error) {
	f := r.fields()
	r, acc, err := b.placed(r, f)
	if err != nil || acc == nil || r.Code != "" {
		return r, err
	}
	op := r.Op
	r.Op, r.Email, err = checkUser(acc.Rules, op, f)
	return r.ruled(f, op, err), nil
}

// placed returns the row with the account that it is for: nil where there is none of that
// name.
func (b *Batch) placed(r Row, f sheet.Fields) (Row, *account, error) {
	acc, unknown := b.accountOf(f)
	if unknown != nil {
		r = r.invalid(f, unknown)
		r.Code = crm.CodeUnknownAccount
		return r, nil, nil
	}
	r.Account = acc.Name
	return r, acc, acc.Err
}

// ruled returns the row after its account's rules have made its operation of op, or have
// refused it.
func (r Row) ruled(f sheet.Fields, op crm.Operation, err error) Row {
	if err != nil {
		field, ok := errors.AsType[*crm.FieldError](err)
		if !ok {
			field = &crm.FieldError{Column: "row", Reason: err.Error()}
		}
		return r.invalid(f, field)
	}
	r.unstated = op.Access == crm.AccessUnset && r.Op.Access != crm.AccessUnset
	return r
}

// row reads a record's fields. Nothing is looked up; an address stays one. The error is
// that of an account which can not be worked with.
func (b *Batch) row(rec sheet.Record) (Row, error) {
	r := Row{Line: rec.Line, cells: rec.Cells}
	if b.isHeader(rec.Cells) {
		return r.invalid(rec.Fields, &crm.FieldError{Column: "action", Reason: crm.Quote(rec.Fields.Action) + " repeats the header: delete this row"}), nil
	}
	r, acc, err := b.placed(r, rec.Fields)
	if err != nil || acc == nil {
		return r, err
	}
	if rec.Problem != nil {
		return r.invalid(rec.Fields, &crm.FieldError{Column: rec.Problem.Column, Reason: rec.Problem.Reason}), nil
	}
	doubt, sure := b.doubt(rec.Fields)
	if sure {
		return r.invalid(rec.Fields, &crm.FieldError{Column: "object", Reason: crm.Quote(rec.Fields.Object) + " " + doubt}), nil
	}
	op, err := operation(rec.Fields)
	if err == nil {
		if r.Op, r.Email, err = checkUser(acc.Rules, op, rec.Fields); err != nil {
			err = b.misread(acc, rec.Fields.Object, doubt, err)
		}
	}
	if err == nil && op.Action != crm.Share && r.Op.Access != crm.AccessUnset {
		_, err = accessOf(rec.Fields)
	}
	if err == nil {
		err = b.reviewed(rec)
	}
	if err == nil {
		r.LastDay = rec.Fields.LastDay
		r.Due, err = b.due(rec.Fields)
	}
	return r.ruled(rec.Fields, op, err), nil
}

// due reads the dates of a row: the later of the two counts.
func (b *Batch) due(f sheet.Fields) (time.Time, error) {
	notBefore, err := plan.NotBefore(f.NotBefore, b.opts.Zone)
	if err != nil {
		return notBefore, &crm.FieldError{Column: "not_before", Reason: crm.Quote(f.NotBefore) + " " + err.Error()}
	}
	after, err := plan.AfterDay(f.LastDay, b.opts.Zone)
	if err != nil {
		return after, &crm.FieldError{Column: "last_day", Reason: crm.Quote(f.LastDay) + " " + err.Error()}
	}
	return plan.Later(notBefore, after), nil
}

func (r Row) invalid(f sheet.Fields, e *crm.FieldError) Row {
	r.Code, r.Problem = cmp.Or(e.Code, crm.CodeInvalid), e.Error()
	r.Column, r.Value = e.Column, crm.Shown(f.Value(e.Column))
	return r
}

// accountOf finds the account that a row is for.
func (b *Batch) accountOf(f sheet.Fields) (*account, *crm.FieldError) {
	name := f.Account
	switch {
	case name != "":
	case b.opts.Default != "":
		name = b.opts.Default
	case b.opts.Words.Route != nil:
		name = b.opts.Words.Route(f.Object)
	default:
		return nil, &crm.FieldError{Column: "account", Reason: "the row names none, and there is no default account; " + b.accountNames()}
	}
	if acc := b.accountNamed(name); acc != nil {
		return acc, nil
	}
	reason := "no account is called " + crm.Quote(name)
	if near := sheet.Near(name, slices.Sorted(maps.Keys(b.accounts))...); near != "" {
		reason += "; did you mean " + near + "?"
	}
	return nil, &crm.FieldError{Column: "account", Reason: reason + "; " + b.accountNames()}
}

// accountNamed returns the account of that name. Letters count in both cases where
// only that tells two names apart.
func (b *Batch) accountNamed(name string) *account {
	if acc := b.accounts[name]; acc != nil {
		return acc
	}
	var found *account
	for other, acc := range b.accounts {
		if !strings.EqualFold(other, name) {
			continue
		}
		if found != nil {
			return nil
		}
		found = acc
	}
	return found
}

// namesShown is how many accounts a message lists.
const namesShown = 10

// accountNames lists the accounts that a row may name.
func (b *Batch) accountNames() string {
	names := slices.Sorted(maps.Keys(b.accounts))
	if len(names) == 1 {
		return "the only account is " + names[0]
	}
	more := ""
	if len(names) > namesShown {
		more = fmt.Sprintf(" and %d more", len(names)-namesShown)
		names = names[:namesShown]
	}
	return "the accounts are " + strings.Join(names, ", ") + more
}

// checkUser puts the user into the operation and has the rules check the whole.
// A row may name its user by id, by address, or by both; with both, the id counts.
func checkUser(rules crm.Rules, op crm.Operation, f sheet.Fields) (crm.Operation, string, error) {
	if op.Action == crm.Keep {
		return checkKeep(rules, op, f)
	}
	if op.Action == crm.RevokeAll {
		if f.User != "" || f.Email != "" {
			return op, "", &crm.FieldError{Column: "user", Reason: "revoke_all takes everybody off the record and names no user; leave it empty, or revoke this user alone"}
		}
		checked, err := rules.Check(op)
		return checked, "", err
	}
	if isAddress(f.User) {
		if f.Email != "" && !looksLikeAddress(f.Email) {
			return op, "", &crm.FieldError{Column: "user", Reason: fmt.Sprintf("the column for addresses holds %s, which is none, and the one for ids the address %s", crm.Quote(f.Email), crm.Quote(f.User))}
		}
		if f.Email != "" && !strings.EqualFold(f.User, f.Email) {
			return op, "", &crm.FieldError{Column: "user", Reason: fmt.Sprintf("%s and %s are two addresses", crm.Quote(f.User), crm.Quote(f.Email))}
		}
		f.User, f.Email = "", f.User
	}
	if f.User == "" && f.Email == "" {
		return op, "", &crm.FieldError{Column: "user", Reason: "is empty"}
	}
	if f.Email != "" && !looksLikeAddress(f.Email) {
		reason := crm.MistakenID(f.Email)
		if reason == "" {
			reason = "is not an e-mail address"
		}
		return op, "", &crm.FieldError{Column: "user", Reason: crm.Quote(f.Email) + " " + reason}
	}
	byAddress := f.User == ""
	op.User = cmp.Or(f.User, f.Email)
	checked, err := rules.Check(op)
	if byAddress {
		checked.User = ""
	}
	return checked, strings.ToLower(f.Email), err
}

// checkKeep checks a row that asks for nothing as the revoke that it was decided against;
// only that it may leave its user empty, where a review told of a share with everybody.
func checkKeep(rules crm.Rules, op crm.Operation, f sheet.Fields) (crm.Operation, string, error) {
	nobody := f.User == "" && f.Email == ""
	if nobody {
		f.Email = "everybody@invalid" // rules leave addresses alone
	}
	op.Action = crm.Revoke
	checked, email, err := checkUser(rules, op, f)
	if nobody {
		email = ""
	}
	return crm.Operation{Action: crm.Keep, Object: checked.Object, Record: checked.Record, Context: checked.Context, User: checked.User}, email, err
}

// looksLikeAddress is no more than a guard against cells that are something else:
// whether anybody has the address, the CRM's user list says.
func looksLikeAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	return ok && local != "" && domain != "" && len(s) <= 254 &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) && !strings.Contains(domain, "@")
}

// operation reads the cells that say what to do, but for the user. On a revoke the
// columns that only describe a share are not even read.
func operation(f sheet.Fields) (op crm.Operation, err error) {
	var ok bool
	if f.Action == "" {
		return op, &crm.FieldError{Column: "action", Code: crm.CodeUndecided, Reason: "is empty: somebody has still to decide about this row"}
	}
	if op.Action, ok = crm.ParseAction(f.Action); !ok {
		return op, unknownAction(f.Action)
	}
	if f.Object == "" {
		return op, &crm.FieldError{Column: "object", Reason: "is empty"}
	}
	op.Object, op.Record, op.Context = f.Object, f.Record, f.Context
	op.Access, err = accessOf(f)
	if err != nil && op.Action != crm.Share {
		op.Access, err = crm.Read, nil // the provider clears it, or it is sent and has to be right
	}
	if err != nil || op.Action != crm.Share {
		return op, err
	}
	if op.Minutes, err = parseMinutes(f.Duration); err != nil {
		return op, err
	}
	if op.Related, ok = crm.ParseChoice(f.Related); !ok {
		return op, badCell("share_related", f.Related, "true or false")
	}
	op.Permissions, err = parsePermissions(f)
	return op, err
}

func accessOf(f sheet.Fields) (crm.Access, error) {
	access, ok := crm.ParseAccess(f.Access)
	if !ok {
		return crm.AccessUnset, badCell("access", f.Access, "read, write or full")
	}
	return access, nil
}

// maxMinutes is a hundred years: beyond it a duration is a slip of the keyboard,
// and far below it the vendor's integer ends.
const maxMinutes = 100 * 366 * 24 * 60

// parseMinutes reads a duration: minutes, or a number with m, h, d or w.
func parseMinutes(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	bad := badCell("duration_minutes", s, "minutes, or a number with h, d or w such as 12h or 30d")
	digits, unit := s, 1
	for suffix, minutes := range map[string]int{"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60} {
		if rest, ok := strings.CutSuffix(strings.ToLower(s), suffix); ok {
			digits, unit = strings.TrimSpace(rest), minutes
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || n*uint64(unit) > maxMinutes {
		return 0, bad
	}
	return int(n) * unit, nil
}

// parsePermissions gathers the permissions of a group share from the one column
// that lists them and from the columns that are named after one.
func parsePermissions(f sheet.Fields) (crm.Permissions, error) {
	var set crm.Permissions
	for name := range strings.FieldsFuncSeq(f.Permissions, func(r rune) bool { return r == ';' || r == '|' }) {
		if strings.TrimSpace(name) == "" {
			continue
		}
		p, ok := crm.ParsePermission(name)
		if !ok {
			return 0, badCell("group_permissions", strings.TrimSpace(name), strings.Join(crm.PermissionNames(), ", "))
		}
		set |= p
	}
	for i, name := range crm.PermissionNames() {
		choice, ok := crm.ParseChoice(f.Permission[i])
		switch {
		case !ok:
			return 0, badCell(name, f.Permission[i], "true or false")
		case choice == crm.No && set&(1<<i) != 0:
			return 0, &crm.FieldError{Column: name, Reason: "says no to what group_permissions lists"}
		case choice == crm.Yes:
			set |= 1 << i
		}
	}
	return set, nil
}

func badCell(column, value, want string) *crm.FieldError {
	if value == "" {
		return &crm.FieldError{Column: column, Reason: "is empty; it takes " + want}
	}
	return &crm.FieldError{Column: column, Reason: crm.Quote(value) + " is not one of its values; it takes " + want}
}

// isHeader reports whether a row says again what the header says, as where several
// sheets were copied into one.
func (b *Batch) isHeader(cells []string) bool {
	return len(b.header) > 0 && slices.EqualFunc(cells, b.header, func(cell, name string) bool {
		return strings.EqualFold(strings.TrimSpace(cell), strings.TrimSpace(name))
	})
}

// unknownAction says what an action can be, and what the word was probably meant for.
func unknownAction(word string) *crm.FieldError {
	e := badCell("action", word, "revoke, share, revoke_all or keep")
	switch strings.ToLower(strings.TrimRight(word, ":")) {
	case "action", "operation", "decision", "review_decision":
		e.Reason = crm.Quote(word) + " repeats the header: delete this row"
		return e
	case "total", "totals", "subtotal", "sum", "count", "grand total":
		e.Reason += "; if it is a row of totals, delete it"
		return e
	}
	if near := sheet.Near(word, "revoke", "share", "revoke_all", "remove", "unshare", "grant", "add", "keep", "retain", "certify"); near != "" {
		e.Reason += "; did you mean " + near + "?"
	}
	return e
}
