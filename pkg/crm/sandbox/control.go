package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// controlPrefix is where the sandbox's own paths begin.
const controlPrefix = "/_sandbox/"

// maxControlBody is the longest body that is read there: a large sheet's seeds.
const maxControlBody = 64 << 20

// State is the reply of GET /_sandbox/state.
type State struct {
	Shares          []Share   `json:"shares"`
	Requests        []Request `json:"requests"`
	OpenOnOneTarget int       `json:"open_on_one_target"`
	Zoho            ZohoState `json:"zoho"`
}

// ZohoState is the part of the reply of GET /_sandbox/state that is about Zoho.
type ZohoState struct {
	Records           map[string][]crm.Grant `json:"records"` // by "Module/id"
	Mails             int                    `json:"mails"`
	TokenRequests     int                    `json:"token_requests"`
	Credits           int                    `json:"credits"` // used in the last 24 hours, where there is a limit
	WritesWithoutLook int                    `json:"writes_without_look"`
	StaleWrites       int                    `json:"stale_writes"`
}

func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	rep := textReply(http.StatusNotFound, "sandbox: no such path; see the package's documentation")
	switch r.Method + " " + r.URL.Path[len(controlPrefix):] {
	case "GET state":
		rep = jsonReply(http.StatusOK, State{append([]Share{}, s.Shares()...), append([]Request{}, s.Requests()...), s.OpenOnOneTarget(), ZohoState{
			Records: s.Records(), Mails: s.Mails(), TokenRequests: s.TokenRequests(), Credits: s.ZohoCredits(),
			WritesWithoutLook: s.WritesWithoutLook(), StaleWrites: s.StaleWrites(),
		}})
	case "GET arrivals":
		rep = jsonReply(http.StatusOK, append([]Arrival{}, s.Arrivals()...))
	case "POST faults":
		rep = each(w, r, s.controlFault)
	case "DELETE faults":
		s.ClearFaults()
		rep = &reply{status: http.StatusNoContent}
	case "POST users":
		rep = each(w, r, s.controlUser)
	case "POST records":
		rep = each(w, r, s.controlRecord)
	case "POST many":
		rep = each(w, r, s.controlMany)
	case "POST modules":
		rep = each(w, r, s.controlModule)
	case "POST groups":
		rep = each(w, r, s.controlGroup)
	case "POST vanish":
		rep = each(w, r, s.controlVanish)
	case "POST seed":
		rep = each(w, r, s.controlSeed)
	}
	send(r.Context(), w, rep, nil)
}

// each reads the body as one T or an array of them and does what do says with
// each, after all have been read and found right.
func each[T any](w http.ResponseWriter, r *http.Request, do func(T) (func(), error)) *reply {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody))
	if err != nil {
		return textReply(http.StatusBadRequest, "sandbox: read body: "+err.Error())
	}
	var list []T
	if body = bytes.TrimSpace(body); !bytes.HasPrefix(body, []byte("[")) {
		body = slices.Concat([]byte("["), body, []byte("]"))
	}
	if err := decodeStrictly(body, &list); err != nil {
		return textReply(http.StatusBadRequest, "sandbox: "+err.Error())
	}
	if !json.Valid(body) {
		return textReply(http.StatusBadRequest, "sandbox: something follows the JSON")
	}
	var effects []func()
	for i, v := range list {
		effect, err := do(v)
		if err != nil {
			return textReply(http.StatusBadRequest, fmt.Sprintf("sandbox: element %d: %v", i, err))
		}
		effects = append(effects, effect)
	}
	for _, effect := range effects {
		effect()
	}
	return &reply{status: http.StatusNoContent}
}

func (s *Server) controlFault(f Fault) (func(), error) {
	if kinds := FaultKinds(); !slices.Contains(kinds, f.Kind) {
		return nil, fmt.Errorf("no fault of kind %q; there are %v", f.Kind, kinds)
	}
	return func() { s.Fault(f) }, nil
}

// controlledUser is a user as POST /_sandbox/users takes it; one who does not say
// is active.
type controlledUser struct {
	ID     string `json:"id"`
	Email  string `json:"email"`
	Active *bool  `json:"active"`
	Role   string `json:"role"`
	RoleID string `json:"role_id"` // Zoho, where role is the profile
}

func (s *Server) controlUser(u controlledUser) (func(), error) {
	if u.ID == "" {
		return nil, errors.New("a user needs an id")
	}
	user := crm.User{ID: u.ID, Email: u.Email, Active: u.Active == nil || *u.Active, Role: u.RoleID}
	return func() { s.AddUser(user, u.Role) }, nil
}

// controlledSeed is an operation as POST /_sandbox/seed takes it.
type controlledSeed struct {
	Action  string `json:"action"`
	Object  string `json:"object"`
	Record  string `json:"record_id"`
	Context string `json:"context_id"`
	User    string `json:"user"`
	Access  string `json:"access"`
	// Permissions are those of a member of a sales group, separated by ";".
	Permissions string `json:"group_permissions"`
}

func (s *Server) controlSeed(c controlledSeed) (func(), error) {
	action, ok := crm.ParseAction(c.Action)
	if !ok {
		return nil, fmt.Errorf("unknown action %q", c.Action)
	}
	access, ok := crm.ParseAccess(c.Access)
	if !ok {
		return nil, fmt.Errorf("unknown access %q", c.Access)
	}
	var permissions crm.Permissions
	for _, name := range strings.FieldsFunc(c.Permissions, func(r rune) bool { return r == ';' }) {
		one, ok := crm.ParsePermission(name)
		if !ok {
			return nil, fmt.Errorf("unknown permission %q", name)
		}
		permissions |= one
	}
	op := crm.Operation{Permissions: permissions, Action: action, Object: c.Object, Record: c.Record, Context: c.Context, User: c.User, Access: access}
	return func() { s.Seed(op) }, nil
}

// controlledRecord is a record's list as POST /_sandbox/records takes it.
type controlledRecord struct {
	Module string           `json:"module"`
	Record string           `json:"record_id"`
	Owner  string           `json:"owner"`
	Grants []controlledPart `json:"grants"`
}

// controlledPart is a grant with its level in words.
type controlledPart struct {
	Kind    string `json:"kind"`
	ID      string `json:"id"`
	Access  string `json:"access"`
	Related bool   `json:"related"`
	Through string `json:"through"`
}

func (s *Server) controlRecord(c controlledRecord) (func(), error) {
	if !zohoModule.MatchString(c.Module) || !zohoID.MatchString(c.Record) {
		return nil, errors.New("a record needs a module and an id")
	}
	var grants []crm.Grant
	for _, part := range c.Grants {
		access, ok := crm.ParseAccess(part.Access)
		if !ok {
			return nil, errors.New("unknown access " + part.Access)
		}
		kind := cmp.Or(part.Kind, crm.KindUser)
		if _, ok := zohoLimits[kind]; !ok && kind != crm.KindPublic {
			return nil, errors.New("unknown kind " + part.Kind)
		}
		if kind != crm.KindPublic && !zohoID.MatchString(part.ID) {
			return nil, errors.New("a grant needs an id of digits")
		}
		grants = append(grants, crm.Grant{Kind: kind, ID: part.ID, Access: access, Related: part.Related, Through: part.Through})
	}
	return func() {
		s.SeedZoho(c.Module, c.Record, grants...)
		if c.Owner != "" {
			s.OwnZoho(c.Module, c.Record, c.Owner)
		}
	}, nil
}
