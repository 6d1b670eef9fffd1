package ledger

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestPostgresStatements(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"SELECT 1":                                "SELECT 1",
		"SELECT ?, x FROM t WHERE y IN (?, ?)":    "SELECT $1, x FROM t WHERE y IN ($2, $3)",
		"CREATE TABLE t (a {{key}}, b {{bytes}})": "CREATE TABLE t (a BIGINT PRIMARY KEY, b BYTEA)",
		"SELECT ? WHERE {{unconfirmed}}":          "SELECT $1 WHERE o.unconfirmed > $2 ORDER BY o.unconfirmed",
	} {
		if got := (postgres{}).rebind(query); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A server that says nothing is lost, and not waited for.
func TestSilentServerIsLost(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer there.Close()
	c := timedConn{here, time.Millisecond}
	defer c.Close()
	_, err := c.Read(make([]byte, 1))
	if err == nil || !(postgres{}).lost(err) || !(postgres{}).away(err) {
		t.Errorf("got %v", err)
	}
}

func TestPostgresErrors(t *testing.T) {
	t.Parallel()
	code := func(c string) error { return fmt.Errorf("x: %w", &pgconn.PgError{Code: c}) }
	for _, tt := range []struct {
		err, want error // nil: it is what it was
	}{
		{code("53100"), ErrStorage}, // disk_full
		{code("57P01"), ErrStorage}, // admin_shutdown
		{code("08006"), ErrStorage}, // connection_failure
		{code("58030"), ErrStorage}, // io_error
		{code("25006"), ErrStorage}, // read_only_sql_transaction
		{code("28P01"), ErrStorage}, // invalid_password
		{driver.ErrBadConn, ErrStorage},
		{sql.ErrConnDone, ErrStorage},
		{fmt.Errorf("receive message: %w", io.ErrUnexpectedEOF), ErrStorage},
		{code("55P03"), ErrBusy}, // lock_not_available
		{code("40001"), ErrBusy}, // serialization_failure
		{code("40P01"), ErrBusy}, // deadlock_detected
		{code("XX001"), ErrDamaged},
		{code("23505"), nil}, // unique_violation: a mistake of ours
		{code("42P01"), nil}, // undefined_table
		{code("57014"), nil}, // query_canceled: somebody has given up
		{errors.New("x"), nil},
	} {
		got := postgres{}.storageError(tt.err)
		for _, kind := range []error{ErrStorage, ErrBusy, ErrDamaged} {
			if errors.Is(got, kind) != (kind == tt.want) || !errors.Is(got, tt.err) {
				t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
			}
		}
	}
}
