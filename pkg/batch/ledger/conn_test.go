package ledger

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValuesComeBack(t *testing.T) {
	t.Parallel()
	c, err := dial(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	long := strings.Repeat("ü\x00", 5000)
	for _, values := range [][]any{
		{int64(0), int64(-1 << 63), int64(1<<63 - 1)},
		{"", "a", long},
		{[]byte{0}, []byte{0, 1}, []byte(long)},
		{nil, "", nil},
		{"short again", []byte{7}, int64(1)},
	} {
		var got []any
		if err := c.query("SELECT ?, ?, ?", func(r row) error {
			got = append(got, r.values...)
			return nil
		}, values...); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(values, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	var none []any
	if err := c.query("SELECT ?", func(r row) error { none = append(none, r.values...); return nil }, []byte(nil)); err != nil || none[0] != nil {
		t.Errorf("a nil blob comes back as %v, %v", none, err)
	}
}

func TestStatementsAreUsedRight(t *testing.T) {
	t.Parallel()
	c, err := dial(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.exec("SELECT ?"); err == nil {
		t.Error("a parameter without a value was taken")
	}
	if err := c.query("SELECT 1", func(row) error {
		return c.query("SELECT 1", func(row) error { return nil })
	}); err == nil {
		t.Error("a statement ran inside itself")
	}
	if err := c.query("SELECT 1", func(row) error { return nil }); err != nil {
		t.Errorf("it does not run any more: %v", err)
	}
	if err := c.once("CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.exec("INSERT INTO t VALUES (?)", int64(1)); err == nil || !strings.Contains(err.Error(), "UNIQUE") {
		t.Errorf("got %v, want what SQLite says", err)
	}
	if n, err := c.exec("UPDATE t SET x = ?", "y"); n != 1 || err != nil {
		t.Errorf("got %d rows changed, %v", n, err)
	}
}
