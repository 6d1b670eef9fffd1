package zoho

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// datacenter is one of Zoho's regions.
type datacenter struct {
	name     string
	accounts string // host of the token service
	api      string // what follows the first label of the API hosts
}

// datacenters returns the regions that Zoho documents. The hosts of the UK are
// inferred from the others; Config.APIURL and AccountsURL take their place if they
// turn out to be wrong.
func datacenters() []datacenter {
	return []datacenter{
		{"us", "accounts.zoho.com", "zohoapis.com"},
		{"eu", "accounts.zoho.eu", "zohoapis.eu"},
		{"in", "accounts.zoho.in", "zohoapis.in"},
		{"au", "accounts.zoho.com.au", "zohoapis.com.au"},
		{"cn", "accounts.zoho.com.cn", "zohoapis.com.cn"},
		{"jp", "accounts.zoho.jp", "zohoapis.jp"},
		{"ca", "accounts.zohocloud.ca", "zohoapis.ca"},
		{"sa", "accounts.zoho.sa", "zohoapis.sa"},
		{"uk", "accounts.zoho.uk", "zohoapis.uk"},
	}
}

// Hosts returns the hosts, with their ports if they are not the usual ones, that an
// account with this configuration talks to: what a ledger is bound to and what an
// account's state is named after. A URL takes precedence over the data centre's.
func Hosts(dc, apiURL, accountsURL string) (api, accounts string, err error) {
	a, t, err := endpoints(dc, apiURL, accountsURL)
	if err != nil {
		return "", "", err
	}
	return a.Host, t.Host, nil
}

// endpoints returns the base URLs of the API and of the token service.
func endpoints(dc, apiURL, accountsURL string) (api, accounts *url.URL, err error) {
	if dc != "" {
		var names []string
		for _, d := range datacenters() {
			names = append(names, d.name)
			if strings.EqualFold(d.name, strings.TrimSpace(dc)) {
				api, accounts = &url.URL{Scheme: "https", Host: "www." + d.api}, &url.URL{Scheme: "https", Host: d.accounts}
			}
		}
		if api == nil {
			return nil, nil, fmt.Errorf("data centre %q: must be one of %s", dc, strings.Join(names, ", "))
		}
	}
	if apiURL != "" {
		if api, err = readBase(apiURL); err != nil {
			return nil, nil, fmt.Errorf("API URL: %w", err)
		}
	}
	if accountsURL != "" {
		if accounts, err = readBase(accountsURL); err != nil {
			return nil, nil, fmt.Errorf("accounts URL: %w", err)
		}
	}
	if api == nil || accounts == nil {
		return nil, nil, errors.New("needs a data centre, or both an API URL and an accounts URL")
	}
	return api, accounts, nil
}

// hostName is a host name or an IPv4 address.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// readBase reads a base URL, with a scheme or without. Plain http is for loopback.
func readBase(s string) (*url.URL, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("can not be read as a URL")
	}
	host, name := strings.ToLower(u.Host), strings.ToLower(u.Hostname())
	switch {
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("may hold a host and nothing after it, such as https://www.zohoapis.eu")
	case net.ParseIP(name) == nil && !hostName.MatchString(name):
		return nil, errors.New("names no host")
	case u.Scheme == "https":
		return &url.URL{Scheme: "https", Host: strings.TrimSuffix(host, ":443")}, nil
	case u.Scheme == "http" && transport.Loopback(name):
		return &url.URL{Scheme: "http", Host: host}, nil
	}
	return nil, errors.New("must be https; plain http is for loopback only")
}

// apiDomain reads the host that a token reply names. It is taken only if it is the
// configured one, or one of Zoho's own, for production or for one of the two kinds of test
// environment, which tokens are bound to: the access token is sent there.
func apiDomain(named string, configured *url.URL) (*url.URL, error) {
	if named == "" {
		return configured, nil
	}
	u, err := readBase(named)
	if err != nil {
		return nil, errors.New("the token reply names an API host that can not be read")
	}
	label, rest, _ := strings.Cut(u.Host, ".")
	known := slices.ContainsFunc(datacenters(), func(d datacenter) bool { return d.api == rest })
	ours := u.Scheme == "https" && known && (label == "www" || label == "sandbox" || label == "developer")
	if *u == *configured || ours {
		return u, nil
	}
	return nil, fmt.Errorf("the token reply names %s as the API host, which is neither Zoho's nor the configured one", u.Host)
}
