package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"time"
)

// The operations of LeadSquared, as Fault.Op and Arrival.Op have them.
const (
	opShare       = "EntityAccess.Share"
	opRevoke      = "EntityAccess.Revoke"
	opStatus      = "EntityAccess.Status"
	opUsers       = "Users.Get"
	opWhoAmI      = "Authentication"
	opGroups      = "UserGroup.Retrieve"
	opGroupUsers  = "UserGroup.RetrieveUsers"
	opAddUsers    = "UserGroup.AddUsers"
	opRemoveUsers = "UserGroup.RemoveUsers"
)

// The roles and, of Zoho, the profiles that matter here.
const (
	roleAdmin    = "Administrator"
	roleSales    = "Sales_User"
	roleStandard = "Standard"
)

// leadSquared is one organisation of LeadSquared and its API.
type leadSquared struct {
	server  *Server
	cfg     Config
	window  window
	refused int // how many calls were, to take the forms of refusal in turn

	people   people
	records  map[string]bool // what exists, as "lead/869196", "activity/<guid>"
	held     map[Share]grant // keyed by the target alone
	touched  map[Share]bool  // targets that were seeded or changed
	requests []*request
	byID     map[string]*request
	waiting  []*request // accepted, without effect so far, the one that is due first at the front
}

func newLeadSquared(s *Server) *leadSquared {
	l := &leadSquared{
		server:  s,
		cfg:     s.cfg,
		window:  window{limit: s.cfg.Limit, length: s.cfg.Window, fixed: s.cfg.Fixed},
		records: map[string]bool{},
		held:    map[Share]grant{},
		touched: map[Share]bool{},
		byID:    map[string]*request{},
	}
	owner := person{User: s.cfg.Owner, Role: roleAdmin}
	if s.cfg.NotAdmin {
		owner.Role = roleSales
	}
	l.people = newPeople(roleSales, guid, owner)
	return l
}

// guid writes the first 16 bytes of b as a GUID.
func guid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// endpoints are the paths of the API.
var endpoints = map[string]struct {
	op, method string
	handle     func(*leadSquared, *exchange) *reply
}{
	"/v2/EntityAccess.svc/Share":                 {opShare, http.MethodPost, (*leadSquared).change},
	"/v2/EntityAccess.svc/Revoke":                {opRevoke, http.MethodPost, (*leadSquared).change},
	"/v2/EntityAccess.svc/Status/Get":            {opStatus, http.MethodGet, (*leadSquared).status},
	"/v2/UserManagement.svc/Users.Get":           {opUsers, http.MethodGet, (*leadSquared).users},
	"/v2/Authentication.svc/UserByAccessKey.Get": {opWhoAmI, http.MethodGet, (*leadSquared).whoAmI},
	"/v2/UserGroup.svc/Retrieve":                 {opGroups, http.MethodGet, (*leadSquared).groups},
	"/v2/UserGroup.svc/RetrieveUsers":            {opGroupUsers, http.MethodGet, (*leadSquared).groupUsers},
	"/v2/UserGroup.svc/AddUsers":                 {opAddUsers, http.MethodPost, (*leadSquared).change},
	"/v2/UserGroup.svc/RemoveUsers":              {opRemoveUsers, http.MethodPost, (*leadSquared).change},
}

func (l *leadSquared) route(x *exchange) func() *reply {
	e, ok := endpoints[x.r.URL.Path]
	if !ok {
		return func() *reply { return htmlReply(http.StatusNotFound, "Endpoint not found.") }
	}
	x.op = e.op
	return func() *reply {
		if x.r.Method != e.method {
			rep := htmlReply(http.StatusMethodNotAllowed, "Method not allowed.")
			rep.header["Allow"] = e.method
			return rep
		}
		if refusal := l.authenticate(x); refusal != nil {
			return refusal
		}
		return e.handle(l, x)
	}
}

func (l *leadSquared) admit(x *exchange) *reply {
	if l.window.admit(x.at) {
		return nil
	}
	return l.refuse()
}

func (l *leadSquared) refuse() *reply {
	forms := members(l.cfg.Refusal)
	status := map[Refusal]int{Refuse429: http.StatusTooManyRequests, Refuse200: http.StatusOK,
		Refuse403: http.StatusForbidden}[forms[l.refused%len(forms)]]
	l.refused++
	limit := l.cfg.Limit
	if limit < 0 {
		limit = 25
	}
	rep := exception(status, "MXAPIRateLimitExceededException",
		"API calls exceeded the limit of %d in %d second(s)", limit, max(1, int(l.cfg.Window/time.Second)))
	if l.cfg.RetryAfter != "" {
		rep.header["Retry-After"] = l.cfg.RetryAfter
	}
	return rep
}

func (l *leadSquared) faulty(f *Fault) *reply {
	switch f.Kind {
	case FaultNoID:
		return jsonReply(http.StatusOK, acceptedReply{Status: "Success"})
	case FaultWrongHost:
		return wrongHost(cmp.Or(f.URL, "api-in22.leadsquared.com"))
	}
	return exception(cmp.Or(f.Status, http.StatusInternalServerError),
		cmp.Or(f.Type, "MXInvalidInputException"), "%s", cmp.Or(f.Text, "Invalid Input!"))
}

// exception is an error as LeadSquared reports it, whatever the status code.
func exception(status int, kind, format string, args ...any) *reply {
	return jsonReply(status, struct{ Status, ExceptionType, ExceptionMessage string }{"Error", kind, fmt.Sprintf(format, args...)})
}

// invalid is an exception about a value in a request, missing one about a value
// that is not there, unknown one about a thing that does not exist.
func (l *leadSquared) invalid(format string, args ...any) *reply {
	return exception(l.cfg.ErrorStatus, "MXInvalidInputException", "Invalid Input! "+format, args...)
}

func (l *leadSquared) missing(name string) *reply {
	return exception(l.cfg.ErrorStatus, "MXMandatoryAttributeMissingException", "'%s' is mandatory", name)
}

func (l *leadSquared) unknown(kind, what, id string) *reply {
	return exception(l.cfg.ErrorStatus, kind, "%s %s does not exist", what, id)
}

func wrongHost(host string) *reply {
	return exception(http.StatusUnauthorized, "MXUnAuthorizedAccessException",
		"Your organization is not hosted here. Please use the API host https://%s/v2/", host)
}

// authenticate checks the keys, the host and, where entities are shared, the role
// of the keys' owner.
func (l *leadSquared) authenticate(x *exchange) *reply {
	access, secret := x.r.Header.Get("x-LSQ-AccessKey"), x.r.Header.Get("x-LSQ-SecretKey")
	if access == "" && secret == "" {
		access, secret = x.query.Get("accessKey"), x.query.Get("secretKey")
	}
	owner, _ := l.people.find(l.cfg.Owner.ID)
	const failed, unauthorized = "MXAuthenticationFailedException", "MXUnAuthorizedAccessException"
	switch {
	case access == "" || secret == "":
		return exception(http.StatusUnauthorized, unauthorized, "AccessKey and SecretKey are required")
	case access != cmp.Or(l.cfg.AccessKey, access) || secret != cmp.Or(l.cfg.SecretKey, secret):
		return exception(http.StatusUnauthorized, failed, "Invalid AccessKey or SecretKey")
	case !owner.Active:
		return exception(http.StatusUnauthorized, failed, "The user of the AccessKey is not active")
	case l.cfg.Host != "" && x.r.Host != l.cfg.Host && x.op != opWhoAmI:
		return wrongHost(l.cfg.Host)
	case owner.Role != roleAdmin && (x.op == opShare || x.op == opRevoke || x.op == opStatus):
		return exception(http.StatusUnauthorized, unauthorized, "Entity Sharing APIs can be accessed by administrators only")
	}
	return nil
}
