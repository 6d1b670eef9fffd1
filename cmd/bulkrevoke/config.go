package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// The CRMs that an account can be of.
const (
	crmLeadSquared = "leadsquared"
	crmZoho        = "zoho"
)

// config is the configuration: a file, or what the environment says without one.
type config struct {
	Path     string                   `yaml:"-"` // "" without a file
	Default  string                   `yaml:"default"`
	Accounts map[string]accountConfig `yaml:"accounts"`
	Protect  []string                 `yaml:"protect"`
	Columns  columnNames              `yaml:"columns"`
	// Flags holds everything else: flags of `run` by their long names.
	Flags map[string]yaml.Node `yaml:",inline"`
}

// accountConfig is one account as the file has it. Secrets are env:NAME or
// file:/path.
type accountConfig struct {
	CRM        string  `yaml:"crm"`
	Limit      string  `yaml:"limit"`
	Share      float64 `yaml:"share"`
	Workers    int     `yaml:"workers"`
	DailyCalls int     `yaml:"daily_calls"`
	CAFile     string  `yaml:"ca_file"`

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

	DC           string `yaml:"dc"`
	APIURL       string `yaml:"api_url"`
	AccountsURL  string `yaml:"accounts_url"`
	Version      string `yaml:"version"`
	ClientID     string `yaml:"client_id"`
	ClientSecret string `yaml:"client_secret"`
	RefreshToken string `yaml:"refresh_token"`
	MaxInFlight  int    `yaml:"max_in_flight"`
	// What the vendor's pages disagree about or leave open.
	Notify      string   `yaml:"notify"`
	Composite   bool     `yaml:"composite"`
	VerifyAfter duration `yaml:"verify_after"`
}

// duration is a time span as the file writes it, such as 2s.
type duration time.Duration

// UnmarshalYAML reads what time.ParseDuration takes, and nothing negative.
func (d *duration) UnmarshalYAML(node *yaml.Node) error {
	v, err := time.ParseDuration(node.Value)
	if err != nil || v < 0 {
		return fmt.Errorf("line %d: %q is not a time span such as 2s", node.Line, node.Value)
	}
	*d = duration(v)
	return nil
}

// configName is what a configuration file is called.
const configName = "bulkrevoke.yaml"

// readConfig reads the file at path; if path is empty, the one in the working
// folder, then the one in the user's configuration folder, then the environment.
func readConfig(ctx context.Context, path string, lookup func(string) (string, bool)) (config, error) {
	if path != "" {
		return readConfigFile(ctx, path)
	}
	for _, candidate := range configPlaces() {
		cfg, err := readConfigFile(ctx, candidate)
		if !errors.Is(err, fs.ErrNotExist) {
			return cfg, err
		}
	}
	return environmentConfig(lookup), nil
}

// configPlaces are where the configuration is looked for, the first that is there counts.
func configPlaces() []string {
	places := []string{configName}
	if dir, err := os.UserConfigDir(); err == nil {
		places = append(places, filepath.Join(dir, "bulkrevoke", configName))
	}
	return places
}

func readConfigFile(ctx context.Context, path string) (config, error) {
	data, err := within(ctx, func() ([]byte, error) { return os.ReadFile(path) })
	if ctx.Err() != nil {
		return config{}, context.Cause(ctx)
	}
	if err != nil {
		return config{}, refusef("Name another with --config.", "read configuration %s: %w", path, report.Reason(err))
	}
	cfg, err := parseConfig(data)
	if err != nil {
		return config{}, refusef("", "%s: %w", path, err)
	}
	cfg.Path = path
	return cfg, nil
}

// parseConfig reads YAML and refuses what it does not know. That the flags among
// the keys exist is checked where flags are known.
func parseConfig(data []byte) (config, error) {
	var cfg config
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return cfg, plainYAMLError(err, data)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return cfg, errors.New("a second document in the file; one is read")
	}
	if err := checkDocument(&doc); err != nil {
		return cfg, err
	}
	dec = yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); err != nil && !errors.Is(err, io.EOF) {
		if several, ok := errors.AsType[*yaml.TypeError](err); ok {
			return cfg, errors.New(strings.Join(several.Errors, "; "))
		}
		return cfg, err // in the words of the type that would not have it
	}
	for name, node := range cfg.Flags {
		node.Line = lineOf(&doc, name)
		cfg.Flags[name] = node
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Accounts)) {
		if err := checkAccount(name, cfg.Accounts[name]); err != nil {
			return cfg, fmt.Errorf("account %q: %w", name, err)
		}
	}
	for _, who := range cfg.Protect {
		if !userOrAddress.MatchString(who) {
			return cfg, fmt.Errorf("protect: %q is neither a user's id nor an e-mail address, and would protect nobody", who)
		}
	}
	if cfg.Default != "" {
		if _, reason := cfg.accountNamed(cfg.Default); reason != "" {
			return cfg, fmt.Errorf("default: %s", reason)
		}
	}
	return cfg, nil
}

// userOrAddress is what names a user: an address, a GUID or digits.
var userOrAddress = regexp.MustCompile(`^([^@\s]+@[^@\s]+|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9]{1,20})$`)

// accountName is what an account may be called: it stands in sheets, messages and
// ledgers.
var accountName = regexp.MustCompile(`^[\pL\pN][\pL\pN ._-]{0,63}$`)

// checkAccount checks what can be checked without asking anybody.
func checkAccount(name string, a accountConfig) error {
	if !accountName.MatchString(name) {
		return errors.New("the name may hold letters, digits, spaces, . _ and -, and at most 64 of them")
	}
	var other map[string]bool // the keys of the other CRM that are set
	switch a.CRM {
	case crmLeadSquared:
		other = a.zohoKeys()
	case crmZoho:
		other = a.leadSquaredKeys()
	case "":
		return errors.New("crm: is missing; it is leadsquared or zoho")
	default:
		return fmt.Errorf("crm: %q is not one of leadsquared, zoho", a.CRM)
	}
	for _, key := range slices.Sorted(maps.Keys(other)) {
		if other[key] {
			return fmt.Errorf("%s: does not belong to a %s account", key, a.CRM)
		}
	}
	if a.Limit != "" {
		if _, err := parseLimit(a.Limit); err != nil {
			return fmt.Errorf("limit: %w", err)
		}
	}
	if a.Share < 0 || a.Share > 1 {
		return fmt.Errorf("share: %v must be more than 0 and at most 1", a.Share)
	}
	if a.CRM == crmZoho {
		return a.checkZoho()
	}
	return a.checkLeadSquared()
}

func (a accountConfig) checkLeadSquared() error {
	switch {
	case a.Host == "":
		return errors.New("host: is missing")
	case a.AccessKey == "":
		return errors.New("access_key: is missing")
	case a.SecretKey == "":
		return errors.New("secret_key: is missing")
	case !slices.Contains([]string{"", "header", "query"}, a.Auth):
		return fmt.Errorf("auth: %q is not one of header, query", a.Auth)
	case !slices.Contains([]string{"", "read", "write"}, a.RevokeAccess):
		return fmt.Errorf("revoke_access: %q is not one of read, write", a.RevokeAccess)
	}
	return nil
}

func (a accountConfig) checkZoho() error {
	switch {
	case a.DC == "" && (a.APIURL == "" || a.AccountsURL == ""):
		return errors.New("dc: is missing (or api_url together with accounts_url)")
	case a.DC != "" && (a.APIURL != "" || a.AccountsURL != ""):
		return errors.New("dc: stands beside api_url and accounts_url; give one or the others")
	case a.ClientID == "":
		return errors.New("client_id: is missing")
	case a.ClientSecret == "":
		return errors.New("client_secret: is missing")
	case a.RefreshToken == "":
		return errors.New("refresh_token: is missing")
	case !slices.Contains([]string{"", "legacy", "none"}, a.Notify):
		return fmt.Errorf("notify: %q is not one of legacy, none", a.Notify)
	}
	return nil
}

// secrets returns where the account's secrets are: env:NAME or file:/path each.
func (a accountConfig) secrets() []string {
	return []string{a.AccessKey, a.SecretKey, a.ClientID, a.ClientSecret, a.RefreshToken}
}

// leadSquaredKeys returns the keys that only a LeadSquared account has, and which
// of them are set.
func (a accountConfig) leadSquaredKeys() map[string]bool {
	return map[string]bool{
		"host": a.Host != "", "access_key": a.AccessKey != "", "secret_key": a.SecretKey != "", "auth": a.Auth != "",
		"max_entries_per_call": a.MaxEntriesPerCall != 0, "max_users_per_call": a.MaxUsersPerCall != 0,
		"callback_url": a.CallbackURL != "", "revoke_access": a.RevokeAccess != "", "success_codes": a.SuccessCodes != nil,
		"failure_codes": a.FailureCodes != nil, "remove_users_path": a.RemoveUsersPath != "",
	}
}

// zohoKeys is leadSquaredKeys for Zoho.
func (a accountConfig) zohoKeys() map[string]bool {
	return map[string]bool{
		"dc": a.DC != "", "api_url": a.APIURL != "", "accounts_url": a.AccountsURL != "", "version": a.Version != "",
		"client_id": a.ClientID != "", "client_secret": a.ClientSecret != "", "refresh_token": a.RefreshToken != "",
		"max_in_flight": a.MaxInFlight != 0, "notify": a.Notify != "", "composite": a.Composite, "verify_after": a.VerifyAfter != 0,
	}
}

// environmentConfig returns the accounts that the environment describes.
func environmentConfig(lookup func(string) (string, bool)) config {
	cfg := config{Accounts: map[string]accountConfig{}}
	get := func(name string) string {
		value, _ := lookup(name)
		return strings.TrimSpace(value)
	}
	if host := get("LEADSQUARED_HOST"); host != "" {
		cfg.Accounts[crmLeadSquared] = accountConfig{
			CRM: crmLeadSquared, Host: host,
			AccessKey: "env:LEADSQUARED_ACCESS_KEY", SecretKey: "env:LEADSQUARED_SECRET_KEY",
		}
	}
	dc, api := get("ZOHO_DC"), get("ZOHO_API_URL")
	if dc != "" || api != "" {
		cfg.Accounts[crmZoho] = accountConfig{
			CRM: crmZoho, DC: dc, APIURL: api, AccountsURL: get("ZOHO_ACCOUNTS_URL"),
			ClientID: "env:ZOHO_CLIENT_ID", ClientSecret: "env:ZOHO_CLIENT_SECRET", RefreshToken: "env:ZOHO_REFRESH_TOKEN",
		}
	}
	return cfg
}
