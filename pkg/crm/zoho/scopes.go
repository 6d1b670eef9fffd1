package zoho

import (
	"encoding/json"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// What the requests need to be allowed, as the vendor's pages name it.
const (
	scopeUsers     = "ZohoCRM.users.READ"
	scopeComposite = "ZohoCRM.composite_requests.CUSTOM"
)

// scopeModules are the words for modules inside a scope; every other module is custom.
var scopeModules = map[string]bool{
	"leads": true, "accounts": true, "contacts": true, "deals": true, "campaigns": true, "cases": true, "solutions": true,
	"products": true, "vendors": true, "pricebooks": true, "quotes": true, "salesorders": true, "purchaseorders": true, "invoices": true,
}

// shareScope names the scope that a request about a module's shares needs, and those
// that hold it.
func shareScope(v verb, object string) string {
	word := strings.ReplaceAll(strings.ToLower(object), "_", "")
	if !scopeModules[word] {
		word = "custom"
	}
	may := map[verb]string{verbLook: "READ", verbPost: "CREATE", verbPut: "UPDATE", verbDelete: "DELETE"}[v]
	return "ZohoCRM.share." + word + "." + may + " (or ZohoCRM.share." + word + ".ALL, or ZohoCRM.share.all)"
}

// explainShare says what a refusal of a request about a module's shares comes from,
// and what would do it. The CRM has one code for a scope that is missing and for
// modules whose records nobody shares.
func (p *Provider) explainShare(f finding, v verb, object string) finding {
	if f.Class != refused {
		return f
	}
	switch strings.ToUpper(f.Code) {
	case "OAUTH_SCOPE_MISMATCH":
		return p.lacks(f, shareScope(v, object), ", or "+object+" is no module whose records can be shared")
	case "NO_PERMISSION", "AUTHORIZATION_FAILED":
		why := "the profile of the user whose token" + p.whose() + " it is does not let them use sharing on " + object
		if may := permissions(f.details); may != "" {
			why = "the user whose token" + p.whose() + " it is lacks the permission " + may
		}
		f.Text = crm.Join(f.Text, why+": give it to them, or authorise the client again as an administrator")
	}
	return f
}

// explainRead does the same for other reads.
func (p *Provider) explainRead(f finding, scope string) finding {
	if f.Class == refused && strings.EqualFold(f.Code, "OAUTH_SCOPE_MISMATCH") {
		return p.lacks(f, scope, "")
	}
	return f
}

func (p *Provider) lacks(f finding, scope, or string) finding {
	f.Text = crm.Join(f.Text, "the token"+p.whose()+" lacks the scope "+scope+or+
		": authorise the client again with all scopes that the README names, and give the account the new refresh token")
	return f
}

// whose is the account in a message, where its name is known.
func (p *Provider) whose() string {
	if p.account == "" {
		return ""
	}
	return " of account " + p.account
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
