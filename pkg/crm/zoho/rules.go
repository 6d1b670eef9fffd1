package zoho

import "github.com/bulkrevoke/bulkrevoke/pkg/crm"

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
