package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// kind is all that the command knows of a CRM. Another CRM is a package under pkg/crm and
// one more of these: no other file names one.
type kind struct {
	name  string // as the configuration has it, and as its account in the environment and in a sandbox is called
	title string // as messages have it
	limit string // what the key limit of an account is without a value

	// keys returns the keys of an account that are this CRM's own, none of them set.
	keys func() keys
	// environment returns the keys of the account that the environment describes, nil
	// if it describes none.
	environment func(get func(variable string) string) keys
	// sandbox returns the keys of an account of the sandbox at a URL, and the variables,
	// as NAME=value, by which another process finds it. It is nil for a CRM that the sandbox
	// does not stand in for.
	sandbox func(url string) (keys, []string)

	// keysFrom says where people get the keys, for a CRM that has no login.
	keysFrom string

	objects objects
	// shown and hidden are what the CRM shows everybody of who has it, and what not, as
	// --help has it; "" if that is nothing.
	shown, hidden string
}

// objects are what the sheets' column object may hold for a CRM.
type objects struct {
	noun string // what the CRM calls them
	// read returns the object that a word stands for, if it is a word of this CRM.
	read func(word string) (object string, ok bool)
	// words are those that a slip of typing may have been meant for.
	words []string
	// open says that an organisation can have others, which only it knows.
	open bool
}

// keys are the keys of an account that are its CRM's own, as the configuration has
// them: a pointer to a struct of strings, numbers and lists. Secrets are env:NAME or
// file:/path.
type keys interface {
	// check says what is wrong with them.
	check() error
	// secrets returns where the secrets are.
	secrets() []string
	// atOnce is how many calls may be under way at one time; 0 leaves that to the limit.
	atOnce() int
	// open reads the secrets.
	open(account string, secrets secretSource) (endpoint, error)
}

// loginKeys are the keys of a CRM that gives out one of the secrets for a token that a person
// fetches from it.
type loginKeys interface {
	keys
	// login returns what the log in is about.
	login(account string) loginSteps
	// trade reads the other secrets, and returns an endpoint whose first call trades the token
	// for the secret, which secret returns then.
	trade(account string, secrets secretSource, token transport.Secret) (e endpoint, secret func() transport.Secret, err error)
}

// loginSteps is what a person has to know to log an account in.
type loginSteps struct {
	steps    string // what to do in the CRM, lines
	token    string // what is asked for
	key, ref string // of the secret in the configuration, and where that says it is
}

// endpoint is where an account works, and how.
type endpoint struct {
	host  string // what ledger and digest call the place
	state string // name of its state folder, which says where it is and with which keys
	rules crm.Rules
	// connect makes the provider, which sends through the transport's gate.
	connect func(tr transport.Config, store *transport.Store) (crm.Provider, error)
	// askAgain drops what the store remembers and the keys would not be put to the test with;
	// nil for nothing.
	askAgain func(store *transport.Store)
	// find makes the finder, which sends so too and can change nothing.
	find func(tr transport.Config, store *transport.Store) (crm.Finder, error)
}

// The CRMs that an account can be of.
const (
	crmLeadSquared = "leadsquared"
	crmZoho        = "zoho"
)

// knownCRMs is the table of CRMs. Where a word is an object of several, a row without an
// account goes to the last of them.
func knownCRMs() kinds {
	return kinds{
		{
			name: crmLeadSquared, title: "LeadSquared", limit: "25/5s",
			keys:        func() keys { return new(leadSquaredKeys) },
			environment: leadSquaredEnvironment,
			sandbox: func(url string) (keys, []string) {
				variables := []string{"LEADSQUARED_HOST=" + url, "LEADSQUARED_ACCESS_KEY=any-access-key", "LEADSQUARED_SECRET_KEY=any-secret-key"}
				return leadSquaredEnvironment(valueIn(variables)), variables
			},
			objects: objects{
				noun: "object", read: leadsquared.Object,
				words: []string{"lead", "leads", "opportunity", "opportunities", "sales_group", "sales_groups", "group"},
			},
			keysFrom: "the access key and the secret key are shown under My Account > Settings > API and Webhooks",
			shown:    "sales groups", hidden: "LeadSquared leads and opportunities",
		},
		{
			name: crmZoho, title: "Zoho", limit: "10/1s",
			keys:        func() keys { return new(zohoKeys) },
			environment: zohoEnvironment,
			sandbox: func(url string) (keys, []string) {
				variables := []string{
					"ZOHO_API_URL=" + url, "ZOHO_ACCOUNTS_URL=" + url,
					"ZOHO_CLIENT_ID=any-client", "ZOHO_CLIENT_SECRET=any-client-secret", "ZOHO_REFRESH_TOKEN=any-refresh-token",
				}
				k := zohoEnvironment(valueIn(variables))
				k.(*zohoKeys).VerifyAfter = duration(2 * processing)
				return k, variables
			},
			objects: objects{
				noun: "module", words: zoho.StandardModules(), open: true,
				read: func(word string) (string, bool) { return strings.ReplaceAll(word, " ", "_"), zoho.Module(word) },
			},
			shown: "Zoho records",
		},
	}
}

// processing is how long a sandbox takes over a change: long enough to see that
// accepted is not done, short enough to wait for.
const processing = 200 * time.Millisecond

// sandboxConfig returns the settings of the sandbox that stands in for these CRMs. With
// generous it gives out more than the ten access tokens in ten minutes that Zoho does.
func sandboxConfig(journal string, generous bool) sandbox.Config {
	cfg := sandbox.Config{Processing: func() time.Duration { return processing }, Journal: journal}
	if generous {
		cfg.Zoho.TokenLimit = -1
	}
	return cfg
}

// leadSquaredKeys are the keys of a LeadSquared account.
type leadSquaredKeys struct {
	Host              string `yaml:"host"`
	AccessKey         string `yaml:"access_key"`
	SecretKey         string `yaml:"secret_key"`
	Auth              string `yaml:"auth"`
	MaxEntriesPerCall int    `yaml:"max_entries_per_call"`
	MaxUsersPerCall   int    `yaml:"max_users_per_call"`
	CallbackURL       string `yaml:"callback_url"`
	RevokeAccess      string `yaml:"revoke_access"`
	SuccessCodes      []int  `yaml:"success_codes"`
	FailureCodes      []int  `yaml:"failure_codes"`
	RemoveUsersPath   string `yaml:"remove_users_path"`
}

func leadSquaredEnvironment(get func(string) string) keys {
	host := get("LEADSQUARED_HOST")
	if host == "" {
		return nil
	}
	return &leadSquaredKeys{Host: host, AccessKey: "env:LEADSQUARED_ACCESS_KEY", SecretKey: "env:LEADSQUARED_SECRET_KEY"}
}

func (k *leadSquaredKeys) check() error {
	switch {
	case k.Host == "":
		return errors.New("host: is missing")
	case k.AccessKey == "":
		return errors.New("access_key: is missing")
	case k.SecretKey == "":
		return errors.New("secret_key: is missing")
	case !slices.Contains([]string{"", "header", "query"}, k.Auth):
		return fmt.Errorf("auth: %q is not one of header, query", k.Auth)
	case !slices.Contains([]string{"", "read", "write"}, k.RevokeAccess):
		return fmt.Errorf("revoke_access: %q is not one of read, write", k.RevokeAccess)
	}
	return nil
}

func (k *leadSquaredKeys) secrets() []string { return []string{k.AccessKey, k.SecretKey} }

func (k *leadSquaredKeys) atOnce() int { return 0 }

func (k *leadSquaredKeys) open(_ string, secrets secretSource) (e endpoint, err error) {
	revoke, _ := crm.ParseAccess(k.RevokeAccess)
	cfg := leadsquared.Config{
		Host: k.Host, Query: k.Auth == "query", MaxEntries: k.MaxEntriesPerCall, MaxUsers: k.MaxUsersPerCall, CallbackURL: k.CallbackURL,
		RevokeAccess: revoke, SuccessCodes: k.SuccessCodes, FailureCodes: k.FailureCodes, RemoveUsersPath: k.RemoveUsersPath,
	}
	if cfg.AccessKey, err = secrets.read("access_key", k.AccessKey); err != nil {
		return e, err
	}
	if cfg.SecretKey, err = secrets.read("secret_key", k.SecretKey); err != nil {
		return e, err
	}
	if e.host, err = leadsquared.Host(k.Host); err != nil {
		return e, err
	}
	if err := cfg.Check(); err != nil {
		return e, err
	}
	if e.rules, err = leadsquared.NewRules(cfg); err != nil {
		return e, err
	}
	e.state = transport.StoreName(e.host, cfg.AccessKey)
	e.connect = func(tr transport.Config, store *transport.Store) (crm.Provider, error) {
		return leadsquared.New(cfg, tr, store)
	}
	e.find = func(tr transport.Config, store *transport.Store) (crm.Finder, error) {
		return leadsquared.NewFinder(cfg, tr, store)
	}
	return e, nil
}

// zohoInFlight is how many calls at once Zoho's smaller editions take.
const zohoInFlight = 5

// zohoKeys are the keys of a Zoho account.
type zohoKeys struct {
	DC           string `yaml:"dc"`
	APIURL       string `yaml:"api_url"`
	AccountsURL  string `yaml:"accounts_url"`
	Version      string `yaml:"version"`
	ClientID     string `yaml:"client_id"` // may stand in the file itself
	ClientSecret string `yaml:"client_secret"`
	RefreshToken string `yaml:"refresh_token"`
	MaxInFlight  int    `yaml:"max_in_flight"`
	// What the vendor's pages disagree about or leave open.
	Notify      string   `yaml:"notify"`
	Composite   bool     `yaml:"composite"`
	VerifyAfter duration `yaml:"verify_after"`
}

func zohoEnvironment(get func(string) string) keys {
	dc, api := get("ZOHO_DC"), get("ZOHO_API_URL")
	if dc == "" && api == "" {
		return nil
	}
	return &zohoKeys{
		DC: dc, APIURL: api, AccountsURL: get("ZOHO_ACCOUNTS_URL"),
		ClientID: "env:ZOHO_CLIENT_ID", ClientSecret: "env:ZOHO_CLIENT_SECRET", RefreshToken: "env:ZOHO_REFRESH_TOKEN",
	}
}

func (k *zohoKeys) check() error {
	switch {
	case k.DC == "" && (k.APIURL == "" || k.AccountsURL == ""):
		return errors.New("dc: is missing (or api_url together with accounts_url)")
	case k.DC != "" && (k.APIURL != "" || k.AccountsURL != ""):
		return errors.New("dc: stands beside api_url and accounts_url; give one or the others")
	case k.ClientID == "":
		return errors.New("client_id: is missing")
	case k.ClientSecret == "":
		return errors.New("client_secret: is missing")
	case k.RefreshToken == "":
		return errors.New("refresh_token: is missing")
	case !slices.Contains([]string{"", "legacy", "none"}, k.Notify):
		return fmt.Errorf("notify: %q is not one of legacy, none", k.Notify)
	}
	return nil
}

func (k *zohoKeys) secrets() []string { return []string{k.ClientID, k.ClientSecret, k.RefreshToken} }

func (k *zohoKeys) atOnce() int {
	if k.MaxInFlight > 0 {
		return k.MaxInFlight
	}
	return zohoInFlight
}

func (k *zohoKeys) open(account string, secrets secretSource) (e endpoint, err error) {
	cfg, err := k.client(account, secrets)
	if err != nil {
		return e, err
	}
	if cfg.RefreshToken, err = secrets.read("refresh_token", k.RefreshToken); err != nil {
		return e, err
	}
	e.askAgain = zoho.AskAgain
	e.connect = func(tr transport.Config, store *transport.Store) (crm.Provider, error) {
		return zoho.New(cfg, tr, store)
	}
	e.find = func(tr transport.Config, store *transport.Store) (crm.Finder, error) {
		return zoho.NewFinder(cfg, tr, store)
	}
	return e.of(cfg, cfg.RefreshToken)
}

// client returns what the keys say of the account's OAuth client.
func (k *zohoKeys) client(account string, secrets secretSource) (cfg zoho.Config, err error) {
	cfg = zoho.Config{
		Account: account, DC: k.DC, APIURL: k.APIURL, AccountsURL: k.AccountsURL, Version: k.Version, ClientID: k.ClientID,
		Notify: k.Notify, Composite: k.Composite, VerifyAfter: time.Duration(k.VerifyAfter),
	}
	if strings.HasPrefix(k.ClientID, "env:") || strings.HasPrefix(k.ClientID, "file:") {
		id, err := secrets.read("client_id", k.ClientID)
		if err != nil {
			return cfg, err
		}
		cfg.ClientID = id.Reveal()
	}
	cfg.ClientSecret, err = secrets.read("client_secret", k.ClientSecret)
	return cfg, err
}

// of fills in the rest of the endpoint of an account, whose state is named after a secret.
func (e endpoint) of(cfg zoho.Config, secret transport.Secret) (endpoint, error) {
	var err error
	if e.host, _, err = zoho.Hosts(cfg.DC, cfg.APIURL, cfg.AccountsURL); err != nil {
		return e, err
	}
	e.rules, e.state = zoho.Rules{}, transport.StoreName(e.host, secret)
	return e, cfg.Check()
}

func (k *zohoKeys) login(account string) loginSteps {
	const text = `1. Open %s and log in as an administrator of the CRM.
2. Choose "Self Client"; its tab "Client Secret" has the client id and the client secret that account %s needs.
3. In its tab "Generate Code", give it the scopes
       %s
   and, for find, also
       %s
   a duration of 10 minutes and any description, then "Create", and choose the organisation.
4. Copy the code. It is the grant token: good once, and for those minutes.
`
	console := cmp.Or(zoho.Console(k.DC, k.APIURL, k.AccountsURL), "the API console of the data centre")
	return loginSteps{
		steps: fmt.Sprintf(text, console, account, zoho.Scopes(k.Composite), zoho.FindScopes()), token: "grant token",
		key: "refresh_token", ref: k.RefreshToken,
	}
}

// trade gives the account the state of the refresh token that it has already, whose
// organisation is known then; else one of the client's own. What the store remembers is of
// the old token.
func (k *zohoKeys) trade(account string, secrets secretSource, token transport.Secret) (e endpoint, secret func() transport.Secret, err error) {
	cfg, err := k.client(account, secrets)
	if err != nil {
		return e, nil, err
	}
	cfg.GrantToken = token
	var last *zoho.Provider
	e.connect = func(tr transport.Config, _ *transport.Store) (crm.Provider, error) {
		if last != nil && !last.RefreshToken().IsZero() {
			cfg.RefreshToken, cfg.GrantToken = last.RefreshToken(), transport.Secret{}
		}
		p, err := zoho.New(cfg, tr, nil)
		if err == nil {
			last = p
		}
		return p, err
	}
	secret = func() (none transport.Secret) {
		if last == nil {
			return none
		}
		return last.RefreshToken()
	}
	quiet := secretSource{lookup: secrets.lookup, warn: func(string) {}}
	old, err := quiet.read("refresh_token", k.RefreshToken)
	if err != nil { // there is none yet, or none that could be used
		old = cfg.ClientSecret
	}
	e, err = e.of(cfg, old)
	return e, secret, err
}

// plainID is a user's id in the one spelling that the CRMs' rules give it.
func plainID(id string) string { return zoho.PlainID(id) }
