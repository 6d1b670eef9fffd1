package sandbox

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The operations of Zoho, as Fault.Op and Arrival.Op have them.
const (
	opZohoToken     = "Zoho.Token"
	opZohoUsers     = "Zoho.Users"
	opZohoOrg       = "Zoho.Org"
	opZohoComposite = "Zoho.Composite"
	opZohoShare     = "Zoho.Share." // and Get, Post, Put or Delete
	opZohoQuery     = "Zoho.Query"
	opZohoModules   = "Zoho.Modules"
	opZohoSharing   = "Zoho.DataSharing"
	opZohoGroups    = "Zoho.Groups"
)

// zohoScopes are what the operations that Lacks may close take; shares of a module are
// closed by ZohoModule.NoShares.
var zohoScopes = map[string]string{
	opZohoUsers:     "ZohoCRM.users.READ",
	opZohoOrg:       "ZohoCRM.org.READ",
	opZohoComposite: "ZohoCRM.composite_requests.CUSTOM",
	opZohoQuery:     "ZohoCRM.coql.READ",
	opZohoModules:   "ZohoCRM.settings.modules.READ",
	opZohoSharing:   "ZohoCRM.settings.data_sharing.READ",
	opZohoGroups:    "ZohoCRM.settings.user_groups.READ",
}

var (
	zohoPath   = regexp.MustCompile(`^/crm/v(2\.1|[2-8])/(?:([^/]+)/([^/]+)/actions/share|(users|org|__composite_requests|coql|settings/modules|settings/data_sharing)(?:/([^/]+)(/actions/associated_groups)?)?)$`)
	zohoID     = regexp.MustCompile(`^[0-9]{1,20}$`)
	zohoModule = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
)

// The causes of a refusal, in the vendor's words.
const (
	causeConcurrency = "The concurrency limit of the application has been exceeded"
	causeCredits     = "The API credits of the last 24 hours have been used up"
)

// zoho is one organisation of Zoho CRM, its API and its token endpoint.
type zoho struct {
	server *Server
	cfg    ZohoConfig

	people  people
	modules map[string]bool // that were seeded
	records map[string]*zohoRecord
	// What the reading side knows beside: modules and groups as they were set, what queries
	// list, and what is gone, by "Module/id".
	settings map[string]ZohoModule
	groups   []ZohoGroup
	listings map[string]*zohoListing
	vanished map[string]bool
	touched  map[crm.Target]bool // targets that were seeded or written

	tokens map[string]*zohoToken // those that live, by access token
	grants map[string]*zohoGrantee
	// What was given out for grant tokens, as digests.
	codes     map[string]bool // the grant tokens that are used up
	refreshes []string        // the refresh tokens that live, oldest first
	pushedOut map[string]bool // those that were too many
	client    window          // refresh tokens that the client was given

	credits window
	units   int // of concurrency that the calls in flight take

	throttled     int // how many calls were, to take the forms of refusal in turn
	mails         int
	tokenRequests int
	blind, stale  int
}

func newZoho(s *Server) *zoho {
	z := &zoho{
		server:  s,
		cfg:     s.cfg.Zoho,
		modules: map[string]bool{},
		records: map[string]*zohoRecord{},

		settings: map[string]ZohoModule{},
		listings: map[string]*zohoListing{},
		vanished: map[string]bool{},

		touched: map[crm.Target]bool{},
		tokens:  map[string]*zohoToken{},
		grants:  map[string]*zohoGrantee{},
		codes:   map[string]bool{}, pushedOut: map[string]bool{},
		client:  window{limit: s.cfg.Zoho.TokenLimit, length: 10 * time.Minute},
		credits: window{limit: s.cfg.Zoho.Credits, length: 24 * time.Hour},
	}
	id := func(sum []byte) string { return fmt.Sprintf("5%018d", binary.BigEndian.Uint64(sum)%1e18) }
	z.people = newPeople(roleStandard, id, person{User: z.cfg.Owner, Role: roleAdmin})
	return z
}

// zohoPlace is what a path of the API addresses, and through which version.
type zohoPlace struct {
	version        int
	module, record string // a record's shares; both empty for the rest
	rest           string // "users", "org", "coql" and so on
	user           string // one of the users, empty for all
	groups         bool   // the groups of the user
}

// parseZohoPath reads a path of the API. v2.1 counts as 2: its shares look the same.
func parseZohoPath(path string) (p zohoPlace, ok bool) {
	m := zohoPath.FindStringSubmatch(path)
	if m == nil || m[5] != "" && m[4] != "users" {
		return p, false
	}
	return zohoPlace{int(m[1][0] - '0'), m[2], m[3], m[4], m[5], m[6] != ""}, true
}

func (p zohoPlace) key() string { return p.module + "/" + p.record }

// usersOnly says that the version knows no recipients but users, under the key
// "user"; typed that its entries have a type, private or public.
func (p zohoPlace) usersOnly() bool { return p.version < 4 }
func (p zohoPlace) typed() bool     { return p.version >= 3 }

func (z *zoho) route(x *exchange) func() *reply {
	if x.r.URL.Path == "/oauth/v2/token" {
		x.op = opZohoToken
		return func() *reply { return z.token(x) }
	}
	place, ok := parseZohoPath(x.r.URL.Path)
	if !ok {
		return zohoProblem(http.StatusNotFound, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one").reply
	}
	method := http.MethodGet
	var handle func() *reply
	switch place.rest {
	case "":
		verb := cmp.Or(x.r.Method, method)
		method = x.r.Method // whose verbs share knows
		x.op = opZohoShare + verb[:1] + strings.ToLower(verb[1:])
		handle = func() *reply { return z.share(x, place) }
	case "users":
		if place.groups {
			x.op, handle = opZohoGroups, func() *reply { return z.associatedGroups(x.query, place.user) }
			break
		}
		x.op, handle = opZohoUsers, func() *reply { return z.users(x.query, place.user) }
	case "org":
		x.op, handle = opZohoOrg, z.org
	case "coql":
		x.op, method, handle = opZohoQuery, http.MethodPost, func() *reply { return z.query(x, place.version) }
	case "settings/modules":
		x.op, handle = opZohoModules, z.listModules
	case "settings/data_sharing":
		x.op, handle = opZohoSharing, func() *reply { return z.dataSharing(place.version) }
	default:
		x.op, method, handle = opZohoComposite, http.MethodPost, func() *reply { return z.composite(x, place.version) }
	}
	// Every reply to a call with a good token has headers about it and the credits: from
	// one half of the day's credits used on.
	return func() *reply {
		expiry, wrong := z.authenticate(x.r)
		if wrong != nil {
			return wrong.reply()
		}
		if scope := zohoScopes[x.op]; slices.Contains(z.cfg.Lacks, scope) {
			return scopeMissing().reply()
		}
		if x.r.Method != method {
			handle = zohoWrongVerb().reply
		}
		rep := handle()
		if rep == nil {
			return nil
		}
		header := map[string]string{"X-ACCESSTOKEN-RESET": expiry.Format(time.RFC3339)}
		if used := len(z.credits.calls); z.cfg.Credits > 0 && 2*used >= z.cfg.Credits {
			header["X-API-CREDITS-REMAINING"] = strconv.Itoa(max(0, z.cfg.Credits-used))
		}
		maps.Copy(header, rep.header)
		rep.header = header
		return rep
	}
}

// admit counts a call against the limits, which are about the API alone, and notes the
// attempt to write a record. Two writes of a record in flight are two changes open at
// once.
func (z *zoho) admit(x *exchange) *reply {
	switch x.op {
	case "":
		return nil
	case opZohoToken:
		z.tokenRequests++
		return nil
	}
	units, place := 1, zohoPlace{}
	if x.op == opZohoComposite {
		units = 5
	}
	if writes(x.r.Method) {
		place, _ = parseZohoPath(x.r.URL.Path)
	}
	if place.module != "" { // an attempt to write, even if it is refused: the client does not know what happens until the next
		rec := z.record(place.key())
		rec.advance(x.at)
		switch {
		case !rec.looked:
			z.blind++
		case rec.seen != rec.changes:
			z.stale++
		}
		rec.looked = false
	}
	if z.cfg.Concurrency >= 0 && z.units+units > z.cfg.Concurrency {
		return z.throttle(causeConcurrency)
	}
	if z.cfg.Credits > 0 && !z.credits.admit(x.at) {
		return z.throttle(causeCredits)
	}
	x.units = units
	z.units += units
	if place.module != "" {
		x.change = &change{entries: []Share{{Object: place.module, Record: place.record}}}
		z.server.open.begin(x.change, x.at)
	}
	return nil
}

func writes(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodDelete
}

// refuse is the reply to a call that a fault throttles.
func (z *zoho) refuse() *reply { return z.throttle(causeConcurrency) }

// throttle is the reply to a call over a limit.
func (z *zoho) throttle(cause string) (rep *reply) {
	forms := members(z.cfg.Throttle)
	form := forms[z.throttled%len(forms)]
	z.throttled++
	switch form {
	case ThrottlePage:
		rep = htmlReply(http.StatusTooManyRequests, "Too Many Requests")
	case ThrottleNumber:
		rep = jsonReply(http.StatusTooManyRequests, map[string]any{"code": 429, "message": cause, "status": "error"})
	case ThrottleError:
		rep = jsonReply(http.StatusTooManyRequests, map[string]any{"error": "TOO_MANY_REQUESTS", "message": cause})
	case ThrottleVague:
		rep = zohoProblem(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "You have made too many requests").reply()
	default:
		rep = zohoProblem(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", cause).reply()
	}
	if after := z.server.cfg.RetryAfter; after != "" {
		rep.header["Retry-After"] = after
	}
	return rep
}

func (z *zoho) faulty(f *Fault) *reply {
	switch f.Kind {
	case FaultNoID:
		return jsonReply(http.StatusOK, map[string]any{"status": "success"})
	case FaultWrongHost:
		return zohoProblem(http.StatusUnauthorized, "INVALID_TOKEN",
			"invalid oauth token; use the host "+cmp.Or(f.URL, "https://www.zohoapis.eu")).reply()
	}
	return zohoProblem(cmp.Or(f.Status, http.StatusInternalServerError),
		cmp.Or(f.Type, "INTERNAL_ERROR"), cmp.Or(f.Text, "Internal Server Error")).reply()
}

// zohoAnswer is what Zoho says of a whole request or of one entry.
type zohoAnswer struct {
	status  int            // of the reply, if it is about a whole request
	Code    string         `json:"code"`
	Details map[string]any `json:"details"`
	Message string         `json:"message"`
	Status  string         `json:"status"`
	// SubRequest is what an answer to a part of a composite call may name.
	SubRequest string `json:"sub_request_id,omitempty"`
}

func (a *zohoAnswer) reply() *reply { return jsonReply(a.status, a) }

// zohoProblem is an error, with names and values of its details in turn.
func zohoProblem(status int, code, message string, details ...any) *zohoAnswer {
	a := &zohoAnswer{status: status, Code: code, Details: map[string]any{}, Message: message, Status: "error"}
	for i := 0; i < len(details); i += 2 {
		a.Details[details[i].(string)] = details[i+1]
	}
	return a
}

// zohoSuccess is a success, with details like those of an error.
func zohoSuccess(message string, details ...any) *zohoAnswer {
	a := zohoProblem(0, "SUCCESS", message, details...)
	a.Status = "success"
	return a
}

func zohoWrongVerb() *zohoAnswer {
	return zohoProblem(http.StatusBadRequest, "INVALID_REQUEST_METHOD", "The http request method type is not a valid one")
}

func badQuery(name string) *zohoAnswer {
	return zohoProblem(http.StatusBadRequest, "PATTERN_NOT_MATCHED", "Please check whether the input values are correct", "api_name", name)
}

func invalidBody(name, path string, details ...any) *zohoAnswer {
	return zohoProblem(http.StatusBadRequest, "INVALID_DATA", "invalid data", append(details, "api_name", name, "json_path", path)...)
}
