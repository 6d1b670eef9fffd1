package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Message is what an error says, with what the driver says in it of connections and servers in
// plain words. It holds no password.
func Message(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return strings.ReplaceAll(text, e.Error(), whyNot(e))
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.ReplaceAll(text, e.Error(), "the server says: "+e.Message)
	}
	return text
}

// FromServer says whether an error comes from the database's server, or from the way to it.
func FromServer(err error) bool {
	_, connect := errors.AsType[*pgconn.ConnectError](err)
	_, said := errors.AsType[*pgconn.PgError](err)
	return connect || said || connectionLost(err)
}

// whyNot says why there is no connection.
func whyNot(e *pgconn.ConnectError) string {
	at := servers(e.Config)
	if pg, ok := errors.AsType[*pgconn.PgError](e); ok {
		switch {
		case strings.HasPrefix(pg.Code, "28"): // invalid_authorization_specification
			return fmt.Sprintf("%s does not let the user %q in: %s", at, e.Config.User, pg.Message)
		case pg.Code == "3D000": // invalid_catalog_name
			return fmt.Sprintf("%s has no database %q", at, e.Config.Database)
		}
		return fmt.Sprintf("%s says: %s", at, pg.Message)
	}
	if dns, ok := errors.AsType[*net.DNSError](e); ok {
		if dns.IsNotFound {
			return fmt.Sprintf("%s cannot be found: no host is called %s", at, dns.Name)
		}
		return fmt.Sprintf("%s cannot be found: nobody answers who %s is", at, dns.Name)
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](e); ok {
		return fmt.Sprintf("%s does not prove who it is: %s", at, strings.TrimPrefix(cert.Err.Error(), "x509: "))
	}
	if errno, ok := errors.AsType[syscall.Errno](e); ok {
		return fmt.Sprintf("%s cannot be reached: %s", at, errno.Error())
	}
	if network, ok := errors.AsType[net.Error](e); ok && network.Timeout() || errors.Is(e, context.DeadlineExceeded) || pgconn.Timeout(e) {
		return at + " does not answer"
	}
	if strings.Contains(e.Error(), "server refused TLS connection") { // which has no type
		return at + " offers no TLS"
	}
	return "no connection can be made to " + at
}

// servers names the servers that were asked.
func servers(c *pgconn.Config) string {
	name := func(host string, port uint16) string {
		if strings.HasPrefix(host, "/") {
			return host
		}
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	all := []string{name(c.Host, c.Port)}
	for _, f := range c.Fallbacks {
		if one := name(f.Host, f.Port); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return "the database's server " + strings.Join(all, " or ")
}
