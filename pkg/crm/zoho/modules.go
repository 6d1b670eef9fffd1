package zoho

import (
	"strings"
	"sync"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// modules remembers what the CRM does not let the token do with those that it closes to
// it: it refuses that for every record in the same words, so that asking once in a run
// is enough. A module may be open to looks and closed to some writes.
type modules struct {
	mu     sync.Mutex // guards closed
	closed map[request]finding
}

// request is what is asked of a module.
type request struct {
	verb   verb
	module string
}

// refused returns what was said of a request that is known to be refused.
func (m *modules) refused(v verb, name string) (finding, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.closed[request{v, name}]
	return f, ok
}

// note takes in what a request about a record of the module has come to.
func (m *modules) note(v verb, name string, f finding) {
	if f.Class != refused || !strings.EqualFold(f.Code, "OAUTH_SCOPE_MISMATCH") {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed == nil {
		m.closed = map[request]finding{}
	}
	f.Text = crm.Join(f.Text, "said of another record of this module; this one was not asked about")
	f.Status, f.Attempted = 0, false
	m.closed[request{v, name}] = f
}
