package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The faults that only Zoho's shares know. The request is carried out.
const (
	// FaultMeddle: after a read that succeeds, somebody else changes the record's
	// list as Body says, a Meddling in JSON. A Body that is none makes every later
	// change fail, with that in its text.
	FaultMeddle FaultKind = "meddle"
	// FaultRefuseEntry: the entry of a write whose recipient is Match, or if Match is
	// empty the one with the index Code, fails with Type and Text.
	FaultRefuseEntry FaultKind = "refuse_entry"
	// FaultDropEntry: a write is accepted in full, and when it is processed the
	// recipient Match gets nothing.
	FaultDropEntry FaultKind = "drop_entry"
)

// Meddling is a change of a record's list by somebody else.
type Meddling struct {
	Clear  bool        `json:"clear,omitempty"`  // everything is taken away first
	Remove []string    `json:"remove,omitempty"` // recipients by id
	Add    []crm.Grant `json:"add,omitempty"`    // in place of entries with the same recipient
}

// parseMeddling reads a Meddling. Unknown fields are errors.
func parseMeddling(text string) (m Meddling, err error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return m, fmt.Errorf("read the body of fault %s: %w", FaultMeddle, err)
	}
	return m, nil
}

// apply returns a list as the change leaves it.
func (m Meddling) apply(list []crm.Grant) []crm.Grant {
	var next []crm.Grant
	for _, g := range list {
		gone := m.Clear || slices.Contains(m.Remove, g.ID) ||
			slices.ContainsFunc(m.Add, func(a crm.Grant) bool { return same(normalised(a), g) })
		if !gone {
			next = append(next, g)
		}
	}
	for _, g := range m.Add {
		next = append(next, normalised(g))
	}
	return next
}
