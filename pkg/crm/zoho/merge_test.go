package zoho

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// raw is a random entry as the wire has it; what of it must come back is sent.
func raw(r *rand.Rand, id int) (shown, sent map[string]any) {
	kind := []string{"users", "users", "users", "groups", "roles"}[r.IntN(5)]
	permission := []string{"read_only", "read_write", "full_access"}[r.IntN(3)]
	related := r.IntN(2) == 0
	long := "415086800000" + strconv.Itoa(1000000+id)
	shown = map[string]any{
		"shared_with": map[string]any{"name": "Jane", "id": long, "type": kind, "zuid": "1"},
		"permission":  permission, "share_related_records": related, "type": "private", "shared_time": "2022-03-01T11:25:28+05:30",
	}
	sent = map[string]any{
		"shared_with": map[string]any{"id": long, "type": kind},
		"permission":  permission, "share_related_records": related, "type": "private",
	}
	switch r.IntN(4) {
	case 0:
		shown["shared_through"] = map[string]any{"module": map[string]any{"name": "Accounts"}, "id": "99"}
		sent = nil // it belongs to its parent
	case 1:
		shown["shared_through"] = map[string]any{"module": map[string]any{"name": "Quotes"}, "id": record}
	}
	return shown, sent
}

// canonical makes entries comparable, whatever the order of their keys.
func canonical(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Over random lists and operations: every bystander is written exactly as it was
// shown and once, no leaver is written, every share is written as asked for and
// once, nothing inherited is written, and no PUT is empty.
func TestPlanProperty(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 7))
		var shown []any
		var stays []string // by place; "" for inherited
		var users []string // direct or inherited
		for id := range r.IntN(9) {
			s, sent := raw(r, id)
			shown = append(shown, s)
			who := s["shared_with"].(map[string]any)
			if who["type"] == "users" {
				users = append(users, who["id"].(string))
			}
			stays = append(stays, "")
			if sent != nil {
				stays[id] = canonical(t, sent)
			}
		}
		body, _ := json.Marshal(shown)
		if shown == nil {
			body = []byte("[]")
		}
		list, err := readList(body, record)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		ops := randomOps(r, users)
		rulings, c := plan(list, ops, bounds{})
		checkPlan(t, seed, list, stays, ops, rulings, c)
	}
}

func randomOps(r *rand.Rand, users []string) []crm.Operation {
	users = append(slices.Clone(users), "70001", "70002", "70003")
	r.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
	var ops []crm.Operation
	for _, u := range users[:r.IntN(len(users)+1)] {
		op := revoke(u)
		if r.IntN(2) == 0 {
			op = give(u, crm.Access(1+r.IntN(3)))
			op.Related = crm.Choice(r.IntN(3))
		}
		ops = append(ops, op)
	}
	return ops
}

func checkPlan(t *testing.T, seed uint64, list []entry, stays []string, ops []crm.Operation, rulings []ruling, c change) {
	t.Helper()
	d, err := newDialect("", "none")
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Share []json.RawMessage }
	if err := json.Unmarshal(d.body(c.verb, c.entries), &body); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range body.Share {
		var v map[string]any
		if err := json.Unmarshal(e, &v); err != nil {
			t.Fatal(err)
		}
		got = append(got, canonical(t, v))
	}
	var want []string
	needed := false // somebody's entry goes or changes
	for i, e := range list {
		at := slices.IndexFunc(ops, func(op crm.Operation) bool { return e.isUser(op.User) })
		switch {
		case stays[i] == "":
		case at < 0 || rulings[at].standing != open:
			want = append(want, stays[i])
		case ops[at].Action == crm.Revoke:
			needed = true
		default:
			needed = true
			want = append(want, wantEntry(t, ops[at], e.related))
		}
	}
	if !needed {
		want = nil
	}
	opens := 0
	for i, op := range ops {
		if rulings[i].standing != open {
			continue
		}
		opens++
		if op.Action == crm.Share && !holds(list, op.User) {
			want = append(want, wantEntry(t, op, crm.No))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("seed %d: entries (-want +got):\n%s", seed, diff)
	}
	wantVerb := verbPut
	switch {
	case opens == 0:
		wantVerb = verbNone
	case !needed:
		wantVerb = verbPost
	case len(want) == 0:
		wantVerb = verbDelete
	}
	if c.verb != wantVerb {
		t.Errorf("seed %d: verb %d, want %d", seed, c.verb, wantVerb)
	}
	if len(c.ops) != opens || len(c.owner) != len(c.entries) {
		t.Errorf("seed %d: %d operations and %d owners for %d open ones and %d entries", seed, len(c.ops), len(c.owner), opens, len(c.entries))
	}
}

// wantEntry is what a share asks for; had is the flag that stays if it says nothing.
func wantEntry(t *testing.T, op crm.Operation, had crm.Choice) string {
	if op.Related != crm.Unsaid {
		had = op.Related
	}
	return canonical(t, map[string]any{
		"shared_with": map[string]any{"id": op.User, "type": "users"},
		"permission":  permissionOf(op.Access), "share_related_records": had == crm.Yes, "type": "private",
	})
}

// Repeating a decision on the list that the write makes finds nothing to do.
func TestPlanSettles(t *testing.T) {
	t.Parallel()
	list := []entry{
		{kind: "users", id: "5", permission: "read_only", related: crm.No, sort: "private"},
		{kind: "users", id: "5", permission: "read_write", related: crm.Yes, sort: "private"},
		{kind: "users", id: "6", permission: "read_only", related: crm.No, sort: "private"},
		{kind: "groups", id: "6", permission: "read_only", related: crm.No, sort: "private"},
	}
	ops := []crm.Operation{give("5", crm.Full), revoke("6"), give("7", crm.Read)}
	_, c := plan(list, ops, bounds{})
	if c.verb != verbPut || !visible(c.entries, c) || visible(list, c) {
		t.Fatalf("got %+v, want a PUT whose effect shows in its own list and not in the old one", c)
	}
	rulings, again := plan(c.entries, ops, bounds{})
	if again.verb != verbNone {
		t.Errorf("a second write %+v, want none", again)
	}
	for i, r := range rulings {
		if r.standing != so {
			t.Errorf("operation %d: %+v, want so", i, r)
		}
	}
	if !slices.Contains(c.entries, list[3]) {
		t.Error("the group with the user's id was taken for the user")
	}
}

// What can not be written back exactly, or may be the leaver under another name,
// keeps its record from being written and its row from being done.
func TestPlanDoesNotGuess(t *testing.T) {
	t.Parallel()
	known := entry{kind: "users", id: "6", permission: "read_only", related: crm.No, sort: "private"}
	leaver := entry{kind: "users", id: "5", permission: "read_only", related: crm.No, sort: "private"}
	for name, odd := range map[string]entry{
		"a flag that is not shown":  {kind: "users", id: "7", permission: "read_only", sort: "private"},
		"a permission not shown":    {kind: "users", id: "7", related: crm.No, sort: "private"},
		"a recipient without an id": {kind: "users", permission: "read_only", related: crm.No, sort: "private"},
	} {
		rulings, c := plan([]entry{leaver, known, odd}, []crm.Operation{revoke("5")}, bounds{})
		if c.verb != verbNone || rulings[0].standing != denied || rulings[0].code != crm.CodeUnreadable {
			t.Errorf("%s: ruling %+v, write %+v, want none", name, rulings[0], c)
		}
	}
	stranger := leaver
	stranger.kind = "user"
	if j := judge([]entry{known, stranger}, revoke("5")); j.standing != denied || j.code != crm.CodeUnreadable {
		t.Errorf("a recipient of an unknown kind with the leaver's id: %+v, want unreadable", j)
	}
	stranger.kind = "groups"
	if j := judge([]entry{known, stranger}, revoke("5")); j.standing != so {
		t.Errorf("a group with the leaver's id: %+v, want so", j)
	}
}

// A refusal that is about the caller is not divided until it lands on a row.
func TestDivisible(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"invalid user Id": true, "ENTITY_ID_INVALID": false, "Shared record cannot be shared to other users": false,
	} {
		if got := divisible(found(refused, "INVALID_DATA", text)); got != want {
			t.Errorf("%s: divisible %v, want %v", text, got, want)
		}
	}
}
