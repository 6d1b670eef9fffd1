package batch

import (
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// toKeep is what the ledger keeps of what was seen before a change. A change that
// writes everybody back, or takes the record from everybody, may harm all who are on it:
// all of them stay on record. Any other touches its own users only, and a group may have
// ten thousands of others.
func toKeep(before crm.State, ops []ledger.Op) crm.State {
	users := make(map[string]bool, len(ops))
	for _, op := range ops {
		users[op.Operation.User] = true
	}
	if before.Rewrites || users[""] {
		return before
	}
	var own []crm.Grant
	for _, g := range before.Grants {
		if g.Kind == crm.KindUser && users[g.ID] {
			own = append(own, g)
		}
	}
	before.Grants = own
	return before
}
