package fleet

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
)

func TestParseURL(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGSSLMODE", "PGSERVICE", "PGPASSWORD", "PGUSER"} {
		t.Setenv(name, "")
	}
	t.Setenv("PGPASSFILE", "/nowhere")
	for _, tt := range []struct {
		name, url string
		plain     bool
		want      string // in the error; "" for none
		tls       bool
	}{
		{name: "verified unless said otherwise", url: "postgres://u@db.example.com/x", tls: true},
		{name: "other scheme", url: "postgresql://u@db.example.com/x?sslmode=verify-full", tls: true},
		{name: "several hosts", url: "postgres://u@db1.example.com,db2.example.com/x", tls: true},
		{name: "several hosts with ports", url: "postgres://u@db1.example.com:5432,db2.example.com:5433/x?connect_timeout=3", tls: true},
		{name: "slash in a password", url: "postgres://u:hunter2/3@localhost/x", plain: true, want: "a password must not stand"},
		{name: "port, no password", url: "postgres://u@localhost:5432/x?sslmode=disable", plain: true},
		{name: "port, nobody, no password", url: "postgres://localhost:5432/x?sslmode=disable", plain: true},
		{name: "port", url: "postgres://u@db.example.com:5433/x?application_name=y", tls: true},
		{name: "disable", url: "postgres://u@db.example.com/x?sslmode=disable", want: "write sslmode=verify-full"},
		{name: "allow", url: "postgres://u@db.example.com/x?sslmode=allow", want: "write sslmode=verify-full"},
		{name: "prefer", url: "postgres://u@db.example.com/x?sslmode=prefer", want: "write sslmode=verify-full"},
		{name: "require", url: "postgres://u@db.example.com/x?sslmode=require", want: "write sslmode=verify-full"},
		{name: "one of two", url: "postgres://u@localhost,db.example.com/x?sslmode=disable", want: "write sslmode=verify-full"},
		{name: "loopback", url: "postgres://u@localhost/x?sslmode=disable"},
		{name: "loopback v4", url: "postgres://u@127.0.0.2/x?sslmode=disable"},
		{name: "loopback v6", url: "postgres://u@[::1]/x?sslmode=disable"},
		{name: "socket", url: "postgres:///x?host=/var/run/postgresql"},
		{name: "not loopback", url: "postgres://u@localhost.example.com/x?sslmode=disable", want: "write sslmode=verify-full"},
		{name: "password in plain sight", url: "postgres://u:hunter2@localhost/x", plain: true, want: "a password must not stand"},
		{name: "password behind", url: "postgres://u@localhost/x?password=hunter2", plain: true, want: "a password must not stand"},
		{name: "password in a secret", url: "postgres://u:hunter2@localhost/x?sslmode=disable"},
		{name: "another scheme", url: "mysql://u:hunter2@localhost/x", want: "postgres://user@host/database"},
		{name: "no URL", url: "host=localhost password=hunter2", want: "postgres://user@host/database"},
		{name: "bad URL", url: "postgres://u:hunter2@local%zzhost/x", want: "cannot be used"},
		{name: "password where a port should be", url: "postgres://u:hun:hunter2@[::1/x", want: "cannot be used"},
		{name: "bad port", url: "postgres://u@localhost/x?port=hunter2", want: "cannot be used"},
		{name: "bad mode", url: "postgres://u:hunter2@localhost/x?sslmode=perhaps", want: "sslmode is invalid"},
		{name: "bad query", url: "postgres://u:hunter2@localhost/x?a=%zz", want: "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseURL(Config{URL: tt.url, Plain: tt.plain})
			if err != nil {
				if tt.want == "" || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("the message tells a secret: %v", err)
				}
				return
			}
			if tt.want != "" {
				t.Fatalf("accepted, want %q", tt.want)
			}
			if tt.tls && (c.TLSConfig == nil || c.TLSConfig.InsecureSkipVerify || c.TLSConfig.ServerName != c.Host) {
				t.Errorf("TLS %+v", c.TLSConfig)
			}
			for _, f := range c.Fallbacks {
				if tt.tls && (f.TLSConfig == nil || f.TLSConfig.InsecureSkipVerify || f.TLSConfig.ServerName != f.Host) {
					t.Errorf("fallback to %+v", f)
				}
			}
		})
	}
	c, err := ParseURL(Config{URL: "postgres://u:other@localhost/x?sslmode=disable", Password: "given"})
	must(t, err)
	if c.Password != "given" || c.RuntimeParams["application_name"] != "bulkrevoke" {
		t.Errorf("password %q, parameters %v", c.Password, c.RuntimeParams)
	}
	t.Setenv("PGSSLMODE", "prefer")
	if _, err := ParseURL(Config{URL: "postgres://u@db.example.com/x"}); err == nil {
		t.Error("PGSSLMODE=prefer was accepted")
	}
}

func TestCheckServer(t *testing.T) {
	t.Parallel()
	must(t, checkServer("130000"))
	if err := checkServer("120022"); !errors.Is(err, ErrOldServer) || !strings.Contains(err.Error(), "this one is 12") {
		t.Errorf("got %v, want ErrOldServer", err)
	}
	if err := checkServer("new"); err == nil {
		t.Error("a server without a version is accepted")
	}
}

// Many open a new database at once: its tables are made once, and newer ones are refused.
func TestOpen(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			d, err := open(t.Context(), Config{URL: url}, quickTimes(), systemClock())
			if err != nil {
				t.Error(err)
				return
			}
			d.Close()
		})
	}
	wg.Wait()
	d := opened(t, url)
	if d.ConnConfig().Database != d.config.Database || d.ConnConfig() == d.config {
		t.Error("ConnConfig is no copy")
	}
	// One who may create nothing can open what is there.
	execute(t, d, "CREATE ROLE worker LOGIN")
	execute(t, d, "GRANT USAGE ON SCHEMA bulkrevoke TO worker")
	execute(t, d, "GRANT ALL ON ALL TABLES IN SCHEMA bulkrevoke TO worker")
	execute(t, d, "GRANT ALL ON ALL SEQUENCES IN SCHEMA bulkrevoke TO worker")
	worker := opened(t, strings.Replace(url, "user=postgres", "user=worker", 1))
	h := joined(t, worker, "h")
	submit(t, worker, "a")
	working(t, h, finished)
	inState(t, worker, "a", Done)

	for _, script := range []string{
		"UPDATE bulkrevoke.fleet_schema SET version = 99",
		"UPDATE bulkrevoke.fleet_schema SET version = 1; INSERT INTO bulkrevoke.river_migration (line, version) VALUES ('main', 99)",
	} {
		execute(t, d, script)
		if _, err := Open(t.Context(), Config{URL: url}); !errors.Is(err, ErrNewer) {
			t.Errorf("%s: got %v, want ErrNewer", script, err)
		}
	}
	if _, err := Open(t.Context(), Config{URL: "postgres:///x?host=/nowhere"}); err == nil {
		t.Error("opened a database that is not there")
	}
}

// An administrator may have made the schema, for one who may create tables there and no schema.
func TestOpenInASchemaThatIsThere(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	admin, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer admin.Close(context.Background())
	for _, script := range []string{"CREATE ROLE tenant LOGIN", "CREATE SCHEMA bulkrevoke AUTHORIZATION tenant"} {
		_, err := admin.Exec(t.Context(), script)
		must(t, err)
	}
	opened(t, strings.Replace(url, "user=postgres", "user=tenant", 1))
}

// Whoever waited for the database in vain can tell that from what is wrong for good.
func TestADatabaseThatStaysAway(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	h := joined(t, d, "h")
	d.times.limit, d.times.patience = 0, 0
	if _, err := h.Claim(t.Context(), []string{"k"}, ClaimOptions{}); !errors.Is(err, ErrAway) {
		t.Errorf("claim: %v, want ErrAway", err)
	}
	if _, err := d.Sheets(t.Context()); !errors.Is(err, ErrAway) {
		t.Errorf("sheets: %v, want ErrAway", err)
	}
}

// A server that another one has taken over from takes no changes: its connections are left.
func TestAServerThatIsACopy(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	name := pgx.Identifier{d.config.Database}.Sanitize()
	execute(t, d, "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	d.pool.Reset()
	number(t, d, "SELECT 1") // a connection to what is a copy by now
	admin, err := pgx.ConnectConfig(t.Context(), d.own())
	must(t, err)
	defer admin.Close(context.Background())
	for _, script := range []string{"SET default_transaction_read_only = off", "ALTER DATABASE " + name + " RESET default_transaction_read_only"} {
		_, err := admin.Exec(t.Context(), script)
		must(t, err)
	}
	must(t, d.SetPlace(t.Context(), "k", "place"))
}
