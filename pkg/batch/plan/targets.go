package plan

import (
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Target is what one user on one record, or a record as a whole, is to go through: its
// entries are rows of a sheet and earlier operations.
type Target[E any] struct {
	// RecordLevel says that some entry is about everybody on the record, so that all its
	// entries act one after the other, whomever they are about.
	RecordLevel bool
	// Entries are in the order of the stream. They are good until the next target.
	Entries []E
}

// Targets parts a stream of entries into targets. The stream has the entries of a record
// together, first those about everybody, and then those of a user (and context) together.
// about returns an entry's account and operation.
func Targets[E any](entries iter.Seq2[E, error], about func(E) (string, *crm.Operation)) iter.Seq2[Target[E], error] {
	type place struct {
		account string
		crm.Target
	}
	return func(yield func(Target[E], error) bool) {
		var t Target[E]
		var at place // of the target
		for e, err := range entries {
			if err != nil {
				yield(Target[E]{}, err)
				return
			}
			account, op := about(e)
			here, whole := place{account, op.Target()}, place{account, op.Target().Whole()}
			if op.Action == crm.RevokeAll || t.RecordLevel && whole == at {
				here = whole
			}
			if here != at {
				if len(t.Entries) > 0 && !yield(t, nil) {
					return
				}
				t = Target[E]{Entries: t.Entries[:0]}
				at = here
			}
			t.RecordLevel = t.RecordLevel || op.Action == crm.RevokeAll
			t.Entries = append(t.Entries, e)
		}
		if len(t.Entries) > 0 {
			yield(t, nil)
		}
	}
}
