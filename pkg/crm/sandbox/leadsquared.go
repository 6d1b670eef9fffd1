package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The operations of LeadSquared, as Fault.Op and Arrival.Op have them.
const (
	opShare  = "EntityAccess.Share"
	opRevoke = "EntityAccess.Revoke"
	opStatus = "EntityAccess.Status"
	opUsers  = "Users.Get"
	opWhoAmI = "Authentication"
)

// leadSquared is one organisation of LeadSquared and its API. The server's mutex
// guards its state.
type leadSquared struct {
	server  *Server
	cfg     Config
	window  window
	refused int // how many calls were, to take the forms of refusal in turn

	people   people
	records  map[string]bool // what exists, as "lead/869196", "activity/<guid>"
	held     map[Share]grant // keyed by the target alone
	settled  map[Share]bool  // targets that were seeded or changed
	requests []*request
	byID     map[string]*request
	waiting  dueQueue // accepted, without effect so far
}

func newLeadSquared(s *Server) *leadSquared {
	l := &leadSquared{
		server: s,
		cfg:    s.cfg,
		window: window{
			limit: s.cfg.Limit, length: s.cfg.Window, fixed: s.cfg.Fixed, countRefused: s.cfg.CountRefused,
		},
		people:  newPeople(),
		records: map[string]bool{},
		held:    map[Share]grant{},
		settled: map[Share]bool{},
		byID:    map[string]*request{},
	}
	role := roleAdmin
	if s.cfg.NotAdmin {
		role = roleSales
	}
	l.people.put(person{User: s.cfg.Owner, Role: role})
	return l
}

func (l *leadSquared) route(r *http.Request) (string, func(*exchange) reply) {
	var op, method string
	var handle func(*exchange) reply
	switch r.URL.Path {
	case "/v2/EntityAccess.svc/Share":
		op, method, handle = opShare, http.MethodPost, func(x *exchange) reply { return l.change(x, kindShare) }
	case "/v2/EntityAccess.svc/Revoke":
		op, method, handle = opRevoke, http.MethodPost, func(x *exchange) reply { return l.change(x, kindRevoke) }
	case "/v2/EntityAccess.svc/Status/Get":
		op, method, handle = opStatus, http.MethodGet, l.status
	case "/v2/UserManagement.svc/Users.Get":
		op, method, handle = opUsers, http.MethodGet, l.users
	case "/v2/Authentication.svc/UserByAccessKey.Get":
		op, method, handle = opWhoAmI, http.MethodGet, l.whoAmI
	default:
		op, method, handle = l.groupRoute(r.URL.Path)
	}
	if handle == nil {
		return "", func(*exchange) reply { return htmlReply(http.StatusNotFound, "Endpoint not found.") }
	}
	if r.Method != method {
		return op, func(*exchange) reply {
			rep := htmlReply(http.StatusMethodNotAllowed, "Method not allowed.")
			rep.header["Allow"] = method
			return rep
		}
	}
	return op, func(x *exchange) reply {
		if refusal := l.authenticate(x, op); refusal != nil {
			return refusal.reply()
		}
		return handle(x)
	}
}

func (l *leadSquared) admit(now time.Time) bool { return l.window.admit(now) }

func (l *leadSquared) refuse() reply {
	l.server.mu.Lock()
	n := l.refused
	l.refused++
	l.server.mu.Unlock()
	forms := l.cfg.Refusal.statuses()
	limit := l.cfg.Limit
	if limit < 0 {
		limit = 25
	}
	text := fmt.Sprintf("API calls exceeded the limit of %d in %d second(s)", limit, max(1, int(l.cfg.Window/time.Second)))
	rep := (&exception{forms[n%len(forms)], "MXAPIRateLimitExceededException", text}).reply()
	if l.cfg.RetryAfter != "" {
		rep.header["Retry-After"] = l.cfg.RetryAfter
	}
	return rep
}

func (l *leadSquared) faulty(f *Fault) reply {
	switch f.Kind {
	case FaultNoID:
		return jsonReply(http.StatusOK, accepted(""))
	case FaultWrongHost:
		return wrongHost(cmp.Or(f.URL, "api-in22.leadsquared.com")).reply()
	}
	e := &exception{
		status: cmp.Or(f.Status, http.StatusInternalServerError),
		kind:   cmp.Or(f.Type, "MXInvalidInputException"),
		text:   cmp.Or(f.Text, "Invalid Input!"),
	}
	return e.reply()
}

// exception is an error as LeadSquared reports it.
type exception struct {
	status     int
	kind, text string
}

func (e *exception) reply() reply {
	return jsonReply(e.status, exceptionReply{"Error", e.kind, e.text})
}

// invalid is an exception about a value in a request, missing one about a value
// that is not there, unknown one about a thing that does not exist.
func (l *leadSquared) invalid(format string, args ...any) *exception {
	return &exception{l.cfg.ErrorStatus, "MXInvalidInputException", "Invalid Input! " + fmt.Sprintf(format, args...)}
}

func (l *leadSquared) missing(name string) *exception {
	return &exception{l.cfg.ErrorStatus, "MXMandatoryAttributeMissingException", fmt.Sprintf("'%s' is mandatory", name)}
}

func (l *leadSquared) unknown(kind, what, id string) *exception {
	return &exception{l.cfg.ErrorStatus, kind, fmt.Sprintf("%s %s does not exist", what, id)}
}

func wrongHost(host string) *exception {
	return &exception{http.StatusUnauthorized, "MXUnAuthorizedAccessException",
		"Your organization is not hosted here. Please use the API host https://" + host + "/v2/"}
}

// authenticate checks the keys, the host and, where entities are shared, the role
// of the keys' owner.
func (l *leadSquared) authenticate(x *exchange, op string) *exception {
	access, secret := x.r.Header.Get("x-LSQ-AccessKey"), x.r.Header.Get("x-LSQ-SecretKey")
	if access == "" && secret == "" {
		access, secret = x.query.Get("accessKey"), x.query.Get("secretKey")
	}
	if access == "" || secret == "" {
		return &exception{http.StatusUnauthorized, "MXUnAuthorizedAccessException", "AccessKey and SecretKey are required"}
	}
	if access != cmp.Or(l.cfg.AccessKey, access) || secret != cmp.Or(l.cfg.SecretKey, secret) {
		return &exception{http.StatusUnauthorized, "MXAuthenticationFailedException", "Invalid AccessKey or SecretKey"}
	}
	owner := l.owner()
	if !owner.Active {
		return &exception{http.StatusUnauthorized, "MXAuthenticationFailedException", "The user of the AccessKey is not active"}
	}
	if l.cfg.Host != "" && x.r.Host != l.cfg.Host && op != opWhoAmI {
		return wrongHost(l.cfg.Host)
	}
	if owner.Role != roleAdmin && (op == opShare || op == opRevoke || op == opStatus) {
		return &exception{http.StatusUnauthorized, "MXUnAuthorizedAccessException",
			"Entity Sharing APIs can be accessed by administrators only"}
	}
	return nil
}

func (l *leadSquared) owner() person {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	p, _ := l.people.find(l.cfg.Owner.ID)
	return p
}

// object returns the number that LeadSquared has for a kind of record.
func object(entity int) (string, bool) {
	switch entity {
	case 1:
		return crm.Lead, true
	case 5:
		return crm.Opportunity, true
	}
	return "", false
}
