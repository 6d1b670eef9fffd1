package zoho

import (
	"strings"
	"sync"
)

// modules remembers those that the CRM does not open to the token: it refuses every
// record of them in the same words, so that asking once in a run is enough.
type modules struct {
	mu     sync.Mutex // guards closed
	closed map[string]finding
}

// refused returns what was said of a module that is known to be closed.
func (m *modules) refused(name string) (finding, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.closed[name]
	return f, ok
}

// note takes in what a look at a record of the module has come to.
func (m *modules) note(name string, f finding) {
	if f.class != refused || !strings.EqualFold(f.code, "OAUTH_SCOPE_MISMATCH") {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed == nil {
		m.closed = map[string]finding{}
	}
	f.text = join(f.text, "said of another record of this module; this one was not asked about")
	f.status = 0
	m.closed[name] = f
}
