package fleet

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Config says where the database is.
type Config struct {
	// URL is what people write: postgres://user@host/database. What it does not say comes
	// from PostgreSQL's own places: PGHOST and the like, service files, .pgpass.
	URL string
	// Plain says that the URL was written where anybody may read it (a configuration, a
	// command line): a password in it is refused.
	Plain bool
	// Password is used instead of the URL's and of PostgreSQL's own places; "" for none.
	Password string
	// Log is nil for no log. It gets neither passwords nor the cells of sheets.
	Log *slog.Logger
}

// ParseURL checks a Config without connecting. The server must be verified (TLS with
// sslmode=verify-full, which is the default here), unless it is on this machine.
func ParseURL(c Config) (*pgx.ConnConfig, error) {
	scheme, rest, _ := strings.Cut(c.URL, "://")
	if scheme != "postgres" && scheme != "postgresql" {
		return nil, errors.New("the database is written as postgres://user@host/database")
	}
	before, after, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(after)
	if err != nil {
		return nil, errors.New("what follows the question mark in the database's URL cannot be read")
	}
	if c.Plain && (hasPassword(before) || query.Has("password") || query.Has("sslpassword")) {
		return nil, errors.New("a password must not stand in the database's URL: give it as database_password, or the whole URL as env:NAME or file:/path")
	}
	config, err := pgx.ParseConfig(c.URL)
	if err == nil && !verified(config) && !query.Has("sslmode") && !query.Has("ssl") && os.Getenv("PGSSLMODE") == "" {
		query.Set("sslmode", "verify-full")
		config, err = pgx.ParseConfig(scheme + "://" + before + "?" + query.Encode())
	}
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // without the URL
		} else {
			err = errors.New("it has a value that is not allowed, such as its port")
		}
		return nil, fmt.Errorf("the database's URL cannot be used: %w", err)
	}
	if !verified(config) {
		return nil, fmt.Errorf("the connection to the database on %s would not be safe: write sslmode=verify-full, with sslrootcert=FILE if its certificate is not from a public authority", config.Host)
	}
	if c.Password != "" {
		config.Password = c.Password
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "bulkrevoke"
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	// A server that vanished is noticed after 20 s, not after the system's two hours.
	dialer := net.Dialer{Timeout: config.ConnectTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}}
	config.DialFunc = dialer.DialContext
	return config, nil
}

// hasPassword reports whether a password stands in what comes before a URL's query. One
// with a slash in it is no URL, and a password nevertheless.
func hasPassword(s string) bool {
	authority, _, _ := strings.Cut(s, "/")
	if !strings.Contains(authority, "@") {
		authority = s
	}
	at := strings.LastIndex(authority, "@")
	return at >= 0 && strings.Contains(authority[:at], ":")
}

// verified reports whether each server that is asked proves who it is, or is on this
// machine.
func verified(c *pgx.ConnConfig) bool {
	if c.TLSConfig == nil || c.TLSConfig.InsecureSkipVerify {
		if !onThisMachine(c.Host) {
			return false
		}
	}
	for _, f := range c.Fallbacks {
		if (f.TLSConfig == nil || f.TLSConfig.InsecureSkipVerify) && !onThisMachine(f.Host) {
			return false
		}
	}
	return true
}

func onThisMachine(host string) bool {
	if host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func connectionLost(err error) bool {
	// Not any net.Error: errors of files are such too.
	_, network := errors.AsType[*net.OpError](err)
	_, name := errors.AsType[*net.DNSError](err)
	return network || name || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "conn closed")
}
