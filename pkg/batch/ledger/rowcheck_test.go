package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// mixedWork returns the path of a closed ledger whose rows have ended in every way:
// lines 2 and 3 went together and are done, 4 was refused and then done, 5 is accepted,
// 6 was killed, 7 was confirmed after its acceptance, 8 was never tried, 9 is invalid.
func mixedWork(t *testing.T) string {
	t.Helper()
	path := newFile(t)
	l, err := Open(path, options())
	if err != nil {
		t.Fatal(err)
	}
	rows := stagedRows("r1a r1a s2b r3a r4a s5a r6a r7a")
	rows[7].Code, rows[7].Problem = "invalid", "no such action"
	adopted(t, l, rows)
	begun(t, l)
	ops := make(map[string]Op)
	for _, op := range todo(t, l) {
		ops[op.Operation.Record] = op
	}
	finish(t, l, ops["1"], Done)
	finish(t, l, ops["2"], Failed)
	finish(t, l, ops["2"], Done)
	finish(t, l, ops["3"], Accepted)
	if err := l.Intend(t.Context(), Intent{CallID: "cut", Account: "main", Ops: []int64{ops["4"].ID}, Attempt: 1, At: at}); err != nil {
		t.Fatal(err)
	}
	finish(t, l, ops["5"], Accepted)
	confirmed := Settle{Op: ops["5"].ID, State: Done, Confirm: true, ConfirmedAt: at}
	if err := l.Settle(t.Context(), []Settle{confirmed}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whoever changes a row beside the events is found out, by its line.
func TestVerifyRows(t *testing.T) {
	t.Parallel()
	at := func(line int, set string) string {
		return fmt.Sprintf("UPDATE op SET %s WHERE id = (SELECT op FROM row WHERE line = %d)", set, line)
	}
	body := fmt.Sprintf("body = x'%x'", packOp(lead("s9b")))
	for _, tc := range []struct {
		name, tamper string
		line         int // 0: nothing is wrong; -1: something is, and no line is to blame
		says         string
	}{
		{"untouched", "SELECT 1", 0, ""},
		{"done made failed", at(2, "state = 5"), 2, "it is failed, and the last event about it says done"},
		{"a row that went with another", at(3, "state = 5"), 3, "it is failed"},
		{"refused, then done, made refused", at(4, "state = 5"), 4, "the last event about it says done"},
		{"accepted made done", at(5, "state = 3"), 5, "it is done, and the last event about it says accepted"},
		{"cut off made done", at(6, "state = 3"), 6, "it is done"},
		{"confirmed made accepted", at(7, "state = 2"), 7, "it is accepted"},
		{"never tried made done", at(8, "state = 3"), 8, "no event says that it was ever tried"},
		{"never tried, with a request Id", at(8, "request_id = 'R'"), 8, "no event"},
		{"never tried, with a place in the history", at(8, "seq = 99"), 8, "no event"},
		{"user", at(4, "user = 'c'"), 4, `user "c"`},
		{"record, access and action", at(4, body), 4, "it asks for share of lead 9"},
		{"account", "INSERT INTO account (id, name) VALUES (9, 'other'); " + at(4, "account = 9"), 4, `account "other"`},
		{"request Id", at(5, "request_id = 'Rx'"), 5, `its request Id is "Rx"`},
		{"request Id taken away", at(7, "request_id = NULL"), 7, `its request Id is ""`},
		{"operation deleted", "DELETE FROM op WHERE id = (SELECT op FROM row WHERE line = 4)", 4, "not there any more"},
		{"row points to another's operation", "UPDATE row SET op = (SELECT op FROM row WHERE line = 2) WHERE line = 8", 2, "same operation as another row"},
		{"row deleted", "DELETE FROM row WHERE line = 8", -1, "7 rows"},
		{"row made invalid", "UPDATE row SET op = NULL WHERE line = 8", -1, "8 rows with 6"},
		{"row of the history", "UPDATE op SET state = 5 WHERE id = (SELECT op FROM row WHERE line = 4); UPDATE row SET op = NULL WHERE line = 4", -1, "of an earlier sheet: it is failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := mixedWork(t)
			c, err := dial(fileURI(path, "mode=rw"))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.once(tc.tamper), c.close()); err != nil {
				t.Fatal(err)
			}
			l, err := Open(path, Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := l.VerifyChain(t.Context()); err != nil {
				t.Fatalf("the events themselves: %v", err)
			}
			err = l.VerifyRows(t.Context())
			if tc.line == 0 {
				if err != nil {
					t.Errorf("got %v for rows that are as they were written", err)
				}
				return
			}
			broken, ok := errors.AsType[*ChainError](err)
			if !ok || broken.Line != max(tc.line, 0) || !strings.Contains(broken.Error(), tc.says) {
				t.Errorf("got %v, want line %d and %q", err, tc.line, tc.says)
			}
		})
	}
}

// Events of an earlier version of the program do not say which operations they are
// about: what only they tell of is not compared, everything else is.
func TestVerifyRowsWithOlderEvents(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	l := mustOpen(t, path)
	adopted(t, l, stagedRows("r1a r2a r3a"))
	ops := todo(t, l)
	if err := l.change(t.Context(), func(c *conn) error {
		if _, err := c.exec("UPDATE op SET state = 3, seq = 1, attempts = 1 WHERE id = ?", ops[0].ID); err != nil {
			return err
		}
		return appendTold(c, at, kindOutcome, []byte(`{"call":"c","account":"main","rows":[{"lines":[2],"action":"revoke","object":"lead","record":"1","user":"a","result":"done"}]}`))
	}); err != nil {
		t.Fatal(err)
	}
	finish(t, l, ops[1], Done)
	if err := l.VerifyRows(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
	if err := l.change(t.Context(), func(c *conn) error {
		_, err := c.exec("UPDATE op SET state = 5 WHERE id = ?", ops[1].ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if broken, ok := errors.AsType[*ChainError](l.VerifyRows(t.Context())); !ok || broken.Line != 3 {
		t.Errorf("got %v, want line 3", broken)
	}
}

func TestMembersOfAnEvent(t *testing.T) {
	t.Parallel()
	for want, ids := range map[string][]int64{
		"7": {7}, "7-9": {7, 8, 9}, "7-9,12": {7, 8, 9, 12}, "3,5,7-8": {3, 5, 7, 8}, "9,8": {9, 8},
	} {
		var members []member
		for _, id := range ids {
			members = append(members, member{id: id})
		}
		told := string(new(conn).newTelling().operation(crm.Operation{}, nil).members(members))
		if !strings.HasSuffix(told, `"ops":"`+want+`"`) {
			t.Errorf("%v is told as %s, want %s", ids, told, want)
		}
		var got []int64
		if err := eachMember(want, func(id int64) error { got = append(got, id); return nil }); err != nil || fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("%s is read as %v, %v", want, got, err)
		}
	}
	for _, bad := range []string{"", "x", "3-", "9-7", "1,,2"} {
		wantIs(t, eachMember(bad, func(int64) error { return nil }), ErrDamaged)
	}
}
