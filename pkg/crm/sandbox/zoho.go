package sandbox

import (
	"cmp"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The operations of Zoho, as Fault.Op and Arrival.Op have them.
const (
	zohoOps         = "Zoho."
	opZohoToken     = zohoOps + "Token"
	opZohoUsers     = zohoOps + "Users"
	opZohoOrg       = zohoOps + "Org"
	opZohoComposite = zohoOps + "Composite"
	opZohoShare     = zohoOps + "Share." // and Get, Post, Put or Delete
)

var (
	zohoSharePath = regexp.MustCompile(`^/crm/(v[0-9.]+)/([^/]+)/([^/]+)/actions/share$`)
	zohoOtherPath = regexp.MustCompile(`^/crm/(v[0-9.]+)/(users|users/[^/]+|org|__composite_requests)$`)
	zohoID        = regexp.MustCompile(`^[0-9]{1,20}$`)
	zohoModule    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
)

// zoho is one organisation of Zoho CRM, its API and its token endpoint. The
// server's mutex guards its state.
type zoho struct {
	server *Server
	cfg    ZohoConfig

	people  zohoPeople
	modules map[string]bool // that were seeded
	records map[string]*zohoRecord
	settled map[crm.Target]bool // targets that were seeded or written

	tokens  map[string]*zohoToken // those that live, by access token
	grants  map[string]*zohoGrantee
	credits window
	calls   map[int]zohoCall // in flight, by the number of their arrival
	units   int              // of concurrency that those take
	writing map[string]int   // how many of those write a record

	throttled     int // how many calls were, to take the forms of refusal in turn
	mails         int
	tokenRequests int
	blind, stale  int
}

func newZoho(s *Server) *zoho {
	z := &zoho{
		server:  s,
		cfg:     s.cfg.Zoho.withDefaults(s.cfg),
		people:  zohoPeople{byID: map[string]int{}},
		modules: map[string]bool{},
		records: map[string]*zohoRecord{},
		settled: map[crm.Target]bool{},
		tokens:  map[string]*zohoToken{},
		grants:  map[string]*zohoGrantee{},
		calls:   map[int]zohoCall{},
		writing: map[string]int{},
	}
	z.credits = window{limit: z.cfg.Credits, length: 24 * time.Hour}
	z.people.put(ZohoUser{User: z.cfg.Owner, Profile: profileAdmin})
	return z
}

// vendorOf returns the API that a path belongs to.
func (s *Server) vendorOf(path string) vendor {
	if strings.HasPrefix(path, "/crm/") || strings.HasPrefix(path, "/oauth/") {
		return s.zoho
	}
	return s.lsq
}

// zohoVersion is the number of an API version. v2.1 counts as 2: its shares look
// the same.
type zohoVersion int

func parseZohoVersion(s string) (zohoVersion, bool) {
	if s == "v2.1" {
		return 2, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	return zohoVersion(n), err == nil && n >= 2 && n <= 8
}

// usersOnly says that a version knows no recipients but users, under the key
// "user".
func (v zohoVersion) usersOnly() bool { return v < 4 }

// typed says that entries have a type, private or public.
func (v zohoVersion) typed() bool { return v >= 3 }

// zohoPlace is a record and the version through which it is addressed.
type zohoPlace struct {
	version        zohoVersion
	module, record string
}

func (p zohoPlace) key() string { return p.module + "/" + p.record }

// parseZohoPlace reads the path of a record's shares.
func parseZohoPlace(path string) (zohoPlace, bool) {
	m := zohoSharePath.FindStringSubmatch(path)
	if m == nil {
		return zohoPlace{}, false
	}
	version, ok := parseZohoVersion(m[1])
	return zohoPlace{version, m[2], m[3]}, ok
}

func (z *zoho) route(r *http.Request) (string, func(*exchange) reply) {
	if r.URL.Path == "/oauth/v2/token" {
		return opZohoToken, z.token
	}
	if place, ok := parseZohoPlace(r.URL.Path); ok {
		return opZohoShare + verb(r.Method), z.authorised(func(x *exchange) reply { return z.share(x, place) })
	}
	m := zohoOtherPath.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return "", func(*exchange) reply { return zohoNoSuchPath().reply() }
	}
	version, ok := parseZohoVersion(m[1])
	if !ok {
		return "", func(*exchange) reply { return zohoNoSuchPath().reply() }
	}
	op, method := opZohoUsers, http.MethodGet
	handle := func(x *exchange) reply { return z.users(x.query, strings.TrimPrefix(m[2], "users")) }
	switch m[2] {
	case "org":
		op, handle = opZohoOrg, z.org
	case "__composite_requests":
		op, method = opZohoComposite, http.MethodPost
		handle = func(x *exchange) reply { return z.composite(x, version) }
	}
	return op, z.authorised(func(x *exchange) reply {
		if x.r.Method != method {
			return zohoWrongVerb().reply()
		}
		return handle(x)
	})
}

// verb returns a method as the names of operations have it.
func verb(method string) string {
	method = cmp.Or(method, http.MethodGet)
	return method[:1] + strings.ToLower(method[1:])
}

// admit lets every call in: what Zoho counts is told by enter, which knows the
// call.
func (z *zoho) admit(time.Time) bool { return true }

// refuse is the reply to a call that a fault throttles.
func (z *zoho) refuse() reply {
	z.server.mu.Lock()
	defer z.server.mu.Unlock()
	return z.refusal(causeConcurrency)
}

func (z *zoho) faulty(f *Fault) reply {
	switch f.Kind {
	case FaultNoID:
		return jsonReply(http.StatusOK, map[string]any{"status": "success"})
	case FaultWrongHost:
		return (&zohoError{status: http.StatusUnauthorized, Code: "INVALID_TOKEN",
			Message: "invalid oauth token; use the host " + cmp.Or(f.URL, "https://www.zohoapis.eu")}).reply()
	}
	return (&zohoError{status: cmp.Or(f.Status, http.StatusInternalServerError),
		Code: cmp.Or(f.Type, "INTERNAL_ERROR"), Message: cmp.Or(f.Text, "Internal Server Error")}).reply()
}

// zohoError is an error as Zoho reports it, of a whole request or of one entry.
type zohoError struct {
	status  int
	Code    string         `json:"code"`
	Details map[string]any `json:"details"`
	Message string         `json:"message"`
	Status  string         `json:"status"`
}

func (e *zohoError) reply() reply {
	return jsonReply(e.status, e.wire())
}

// wire returns the error with what every error has.
func (e *zohoError) wire() zohoError {
	full := *e
	full.Status = cmp.Or(full.Status, "error")
	if full.Details == nil {
		full.Details = map[string]any{}
	}
	return full
}

func zohoNoSuchPath() *zohoError {
	return &zohoError{status: http.StatusNotFound, Code: "INVALID_URL_PATTERN",
		Message: "Please check if the URL trying to access is a correct one"}
}

func zohoWrongVerb() *zohoError {
	return &zohoError{status: http.StatusBadRequest, Code: "INVALID_REQUEST_METHOD",
		Message: "The http request method type is not a valid one"}
}

// authorised wraps a handler of the API: it checks the access token, and adds the
// headers that every reply has.
func (z *zoho) authorised(handle func(*exchange) reply) func(*exchange) reply {
	return func(x *exchange) reply {
		expiry, wrong := z.authenticate(x.r)
		if wrong != nil {
			return wrong.reply()
		}
		rep := handle(x)
		header := map[string]string{"X-ACCESSTOKEN-RESET": expiry.Format(time.RFC3339)}
		if left, tell := z.creditsLeft(); tell {
			header["X-API-CREDITS-REMAINING"] = strconv.Itoa(left)
		}
		for name, value := range rep.header {
			header[name] = value
		}
		rep.header = header
		return rep
	}
}
