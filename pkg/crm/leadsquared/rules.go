package leadsquared

import (
	"cmp"
	"errors"
	"fmt"

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
