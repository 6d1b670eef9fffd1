package zoho

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// What the requests need to be allowed, as the vendor's pages name it.
const (
	scopeUsers     = "ZohoCRM.users.READ"
	scopeOrg       = "ZohoCRM.org.READ"
	scopeComposite = "ZohoCRM.composite_requests.CUSTOM"
)

// scopeMismatch is the code of a refusal for want of a scope.
const scopeMismatch = "OAUTH_SCOPE_MISMATCH"

// shareScope names the scope that a request about a module's shares needs, and those
// that hold it. It names the standard modules; every other one is custom.
func shareScope(v verb, object string) string {
	word := "custom"
	if slices.Contains(StandardModules(), object) {
		word = strings.ReplaceAll(strings.ToLower(object), "_", "")
	}
	may := map[verb]string{verbLook: "READ", verbPost: "CREATE", verbPut: "UPDATE", verbDelete: "DELETE"}[v]
	return "ZohoCRM.share." + word + "." + may + " (or ZohoCRM.share." + word + ".ALL, or ZohoCRM.share.all)"
}

// request is what is asked of a module's records. What the CRM refuses to the token for
// want of a scope it refuses for every record of the module in the same words, so that
// asking once in a run is enough; reader.closed remembers it. A module may be open to
// looks and closed to some writes.
type request struct {
	verb   verb
	module string
}

// explainShare says what a refusal of a request about a module's shares comes from,
// and what would do it. The CRM has one code for a scope that is missing and for
// modules whose records nobody shares; such a refusal is remembered.
func (r *reader) explainShare(f finding, v verb, object string) finding {
	if f.Class != refused {
		return f
	}
	switch strings.ToUpper(f.Code) {
	case scopeMismatch:
		f = r.explainRead(f, shareScope(v, object)+", or "+object+" is no module whose records can be shared")
		again := f
		again.Text = crm.Join(f.Text, "said of another record of this module; this one was not asked about")
		again.Status, again.Attempted = 0, false
		r.closed.Store(request{v, object}, again)
	case "NO_PERMISSION", "AUTHORIZATION_FAILED":
		why := "the profile of the user whose token" + r.whose() + " it is does not let them use sharing on " + object
		if may := permissions(f.details); may != "" {
			why = "the user whose token" + r.whose() + " it is lacks the permission " + may
		}
		f.Text = crm.Join(f.Text, why+": give it to them, or authorise the client again as an administrator")
	}
	return f
}

// explainRead does the same for other reads, which take a scope.
func (r *reader) explainRead(f finding, scope string) finding {
	if f.Class == refused && strings.EqualFold(f.Code, scopeMismatch) {
		f.Text = crm.Join(f.Text, "the token"+r.whose()+" lacks the scope "+scope+
			": authorise the client again with all scopes that the README names, and give the account the new refresh token")
	}
	return f
}

// whose is the account in a message, where its name is known.
func (r *reader) whose() string {
	if r.account == "" {
		return ""
	}
	return " of account " + r.account
}

// detail is a part of the details of a refusal that is one text or number; "" for none.
func detail(details once, name string) string {
	var d map[string]text
	_ = json.Unmarshal(details, &d) // what can not be read says nothing
	return string(d[name])
}

// permissions names those that a refusal says are lacking; "" for none.
func permissions(details once) string {
	var d struct {
		Permissions []text `json:"permissions"`
	}
	if json.Unmarshal(details, &d) != nil {
		return ""
	}
	var names []string
	for _, name := range d.Permissions[:min(len(d.Permissions), 5)] {
		names = append(names, string(name))
	}
	return strings.Join(names, ", ")
}
