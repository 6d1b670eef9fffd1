package leadsquared

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// hostName is what the name of a host may look like; addresses are read apart.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// Host reads the host of an account in any of the forms that people paste: bare,
// with a scheme, with /v2, with /v2/. It returns it as host or host:port, in lower
// case and without the scheme's own port: equal accounts give equal texts, which is
// what ledgers and state folders are named by. Plain http is accepted for loopback
// addresses only.
func Host(s string) (string, error) {
	u, err := base(s)
	if err != nil {
		return "", err
	}
	return u.Host, nil
}

// base reads s as Host does and returns the URL that paths such as /v2/... are
// joined to.
func base(s string) (*url.URL, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, errors.New("host: none given")
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		// A parse error repeats the text, which may hold pasted keys.
		return nil, errors.New("host: not a host name or URL")
	}
	name, port, scheme := strings.ToLower(u.Hostname()), u.Port(), strings.ToLower(u.Scheme)
	switch path := strings.Trim(u.Path, "/"); {
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("host: only a host name is wanted, without keys or parameters")
	case path != "" && !strings.EqualFold(path, "v2"):
		return nil, errors.New("host: a path other than /v2 does not belong to it")
	case net.ParseIP(name) == nil && !hostName.MatchString(name):
		return nil, errors.New("host: not a host name")
	case scheme == "http" && !transport.Loopback(name):
		return nil, fmt.Errorf("host: plain http is for loopback addresses only, not for %s", name)
	case scheme != "http" && scheme != "https":
		return nil, errors.New("host: the scheme must be https")
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port != "" && port != map[string]string{"https": "443", "http": "80"}[scheme] {
		name += ":" + port
	}
	return &url.URL{Scheme: scheme, Host: name}, nil
}
