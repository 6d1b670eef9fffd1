package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// What an event says is read back as it was, but for bytes that are no UTF-8.
func TestEventRowsComeBack(t *testing.T) {
	t.Parallel()
	op := crm.Operation{
		Action: crm.Share, Object: "Leads", Record: "1\\2", Context: "\x00\"", User: "Ünal \U0001F600 </script>\u2028", Access: crm.Full,
		Minutes: 5, Related: crm.Yes, Permissions: 3,
	}
	g := group{Op: Op{Operation: op}, members: []member{{id: 7}, {id: 8}}, lines: []int{2, 30}}
	o := Outcome{Status: crm.Failed, Uncertain: true, RequestID: "R", Code: "C", Message: "line\nbreak \xff", Note: "n", HTTPStatus: 500, Attempts: 2}
	body, err := json.Marshal(g.event().outcome(o))
	if err != nil {
		t.Fatal(err)
	}
	want := eventRow{
		Lines: []int{2, 30}, Action: "share", Object: op.Object, Record: op.Record, Context: op.Context, User: op.User,
		Access: "full", Minutes: 5, Related: op.Related.String(), Permissions: op.Permissions.String(), Ops: "7-8",
		Result: "failed", Uncertain: true, RequestID: "R", Code: "C", Message: "line\nbreak \ufffd", Note: "n", HTTPStatus: 500, Attempts: 2,
	}
	var got eventRow
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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
		if told := opsText(members); told != want {
			t.Errorf("%v is told as %s, want %s", ids, told, want)
		}
		var got []int64
		if err := eachMember(want, func(id int64) error { got = append(got, id); return nil }); err != nil || fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("%s is read as %v, %v", want, got, err)
		}
	}
	for _, bad := range []string{"", "x", "3-", "9-7", "1,,2"} {
		if err := eachMember(bad, func(int64) error { return nil }); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q is read as %v", bad, err)
		}
	}
}
