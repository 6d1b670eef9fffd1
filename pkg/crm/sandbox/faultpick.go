package sandbox

import (
	"bytes"
	"slices"
	"strings"
)

// armed is a fault with what it has met so far.
type armed struct {
	Fault
	seen, fired int
}

// Fault adds a fault. A kind that does not exist answers every request that fits
// with status 501 and its name.
func (s *Server) Fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &armed{Fault: f})
}

// ClearFaults makes an end of all faults, except for requests that are under way.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// pick returns the fault that a request meets, nil for none.
func (s *Server) pick(op string, x *exchange) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.faults {
		if !a.fits(op, x) {
			continue
		}
		a.seen++
		if a.seen <= a.After || (a.Times > 0 && a.fired >= a.Times) {
			continue
		}
		a.fired++
		f := a.Fault
		return &f
	}
	return nil
}

func (f Fault) fits(op string, x *exchange) bool {
	if f.Op != "" && f.Op != "*" && f.Op != op {
		return false
	}
	return bytes.Contains(x.body, []byte(f.Match)) || strings.Contains(x.r.URL.RawQuery, f.Match) ||
		strings.Contains(x.r.URL.Path, f.Match)
}

// carriedOut says whether a request that meets f is carried out all the same.
func (f *Fault) carriedOut() bool {
	if f == nil || f.Processed {
		return true
	}
	switch f.Kind {
	case FaultResetAfter, FaultSlow, FaultTrickle, FaultTruncate,
		FaultNeverProcess, FaultProcessFailed, FaultUnlisted, FaultMeddle, FaultRefuseEntry, FaultDropEntry:
		return true
	}
	return false
}

// replaces says that the answer to a request that meets f is not the true one.
func (f *Fault) replaces() bool {
	if f == nil {
		return false
	}
	i := slices.Index(faultKinds, f.Kind)
	return i < 0 || (i >= slices.Index(faultKinds, FaultEmpty500) && i <= slices.Index(faultKinds, FaultWrongHost))
}

// silent says that nothing at all is answered to a request that meets f.
func (f *Fault) silent() bool {
	return f.is(FaultResetBefore) || f.is(FaultResetAfter) || f.is(FaultHang)
}

// loses says that a client that meets f does not learn what the true answer was.
func (f *Fault) loses() bool { return f.silent() || f.replaces() || f.is(FaultTruncate) }

// is says whether f is of the kind; no fault is of none.
func (f *Fault) is(kind FaultKind) bool { return f != nil && f.Kind == kind }
