package zoho

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func held(id, permission string) entry {
	return entry{kind: kindUser, id: id, permission: permission, related: crm.No, sort: typePrivate}
}

// answered is the answer to a write that speaks of each entry: "y" was accepted, "n"
// refused, "b" busy, "v" refused as if the user could see the record, "?" unclear.
func answered(entries string) finding {
	f := found(partial, "", "")
	for _, r := range entries {
		f.results = append(f.results, map[rune]result{
			'y': {Code: "SUCCESS", said: yes},
			'n': {Code: "INVALID_DATA", Message: "invalid user Id", said: no},
			'b': {Code: "CANNOT_PROCESS", Message: "Scheduler is running", said: no},
			'v': {Code: "INVALID_DATA", Message: "record is already visible to the user.", said: no},
			'?': {Code: crm.CodeNoAnswer, said: unclear},
		}[r])
	}
	return f
}

// TestAfter has every case of a write whose answer was not plain: what the answer was,
// what a look shows then, and what follows for the rows and the bystanders.
func TestAfter(t *testing.T) {
	t.Parallel()
	var (
		revoke5  = []crm.Operation{revoke("5")}
		revoke56 = []crm.Operation{revoke("5"), revoke("6")}
		give5    = []crm.Operation{give("5", crm.Write)}
		give58   = []crm.Operation{give("5", crm.Write), give("8", crm.Read)}
		mixed    = []crm.Operation{revoke("5"), give("8", crm.Read)}
		three    = []entry{held("5", "read_only"), held("6", "read_write"), held("7", "read_only")}
		two      = three[1:]
		lostNow  = found(uncertain, "", "reset")
		isBusy   = found(busy, "CANNOT_PROCESS", "Scheduler is running")
		list     = func(e ...entry) finding { f := found(shown, "", ""); f.list = e; return f }
		public   = entry{sort: typePublic, permission: "read_only"}
		parent   = entry{kind: kindUser, id: "5", permission: "read_only", through: "Contacts/7"}
		over     = found(ended, "", "")
	)
	over.End(crm.EndKeys, "x", "", "")
	repair := func(a *attempt, said finding, missing ...entry) {
		a.missing = missing
		a.repaired(repairOf(three[2:], missing), said, list(three[2]))
	}
	tests := []struct {
		name    string
		before  []entry
		ops     []crm.Operation
		said    finding
		edit    func(a *attempt) // "again" is allowed unless it says otherwise
		stopped bool
		bounds  bounds
		atRisk  string
		look    finding
		rows    string // by row; "open" for one that another change is to make true
		repair  string // verb and recipients of the repair
		says    string // part of what befell bystanders
		risk    string // part of who may have lost access
		more    string // "accepted": no other write may follow; "hidden": it is waited for
	}{
		// The answer was lost.
		{name: "lost, and done", before: three, ops: revoke56, said: lostNow, look: list(three[2]), rows: "done, done"},
		{name: "lost, and not done", before: three, ops: revoke5, said: lostNow, look: list(three...), rows: "open"},
		{name: "lost, and done in part", before: three, ops: mixed, said: lostNow, look: list(two...), rows: "done, open"},
		{name: "lost too often", before: three, ops: revoke5, said: lostNow, edit: func(a *attempt) { a.again = false }, look: list(three...), rows: "failed no_answer"},
		{name: "lost, and the run is to end", before: three, ops: revoke5, said: lostNow, edit: func(a *attempt) { a.again = false }, stopped: true, look: list(three...), rows: "not_attempted no_answer"},
		{name: "lost, and there by a parent now", before: three, ops: revoke5, said: lostNow, look: list(three[1], three[2], parent), rows: "failed inherited"},
		{name: "lost, and public now", before: three, ops: revoke5, said: lostNow, look: list(public, two[0], two[1]), rows: "failed public"},
		{name: "lost, and the record is busy", before: three, ops: revoke5, said: lostNow, look: isBusy, rows: "not_attempted CANNOT_PROCESS"},
		{name: "lost, and no look", before: three, ops: revoke5, said: lostNow, look: found(unsent, "", ""), rows: "not_attempted"},
		{name: "lost, and the look is refused", before: three, ops: revoke5, said: lostNow, look: found(refused, "NO_PERMISSION", ""), rows: "failed NO_PERMISSION"},
		{name: "lost, and nobody knows v8", before: three, ops: revoke5, said: lostNow, bounds: bounds{usersOnly: true}, look: found(refused, "API_NOT_SUPPORTED", ""), rows: "failed needs_v8"},
		{name: "lost, and the account ends", before: three, ops: revoke5, said: lostNow, look: over, rows: "not_attempted keys ended:keys"},
		{name: "lost POST, and done", ops: give5, said: lostNow, look: list(held("5", "read_write")), rows: "done"},
		{name: "lost DELETE, and done", before: three[:1], ops: revoke5, said: lostNow, look: list(), rows: "done"},
		// What it did to bystanders.
		{name: "lost, a bystander gone", before: three, ops: revoke5, said: lostNow, look: list(three[2]), rows: "", repair: "post user 6"},
		{name: "lost, a bystander has less", before: three, ops: revoke5, said: lostNow, look: list(held("6", "read_only"), three[2]), repair: "put user 7, user 6"},
		{name: "lost, a bystander gone and nothing done", before: three, ops: revoke5, said: lostNow, look: list(three[0], three[2]), rows: "open"},
		{name: "lost, everybody gone", before: three, ops: revoke5, said: lostNow, look: list(), rows: "done", says: "none of those who were to stay has the record any more"},
		{name: "a bystander gone whom the version can not give back", before: append(three[:3:3], entry{kind: kindGroup, id: "9", permission: "read_only", related: crm.No}), ops: revoke5, said: lostNow, bounds: bounds{usersOnly: true},
			look: list(append(two, entry{kind: kindUser, id: "8", permission: "read_only", related: crm.No})...), rows: "done", says: "set the version to v8"},
		// The answer refuses entries.
		{name: "one refused, the other there", ops: give58, said: answered("yn"), look: list(held("5", "read_write")), rows: "done, failed INVALID_DATA"},
		{name: "one refused and there all the same", ops: give58, said: answered("yv"), look: list(held("5", "read_write"), held("8", "read_only")), rows: "done, done"},
		{name: "one refused, and there otherwise", ops: give5, said: answered("v"), look: list(held("5", "read_only")), rows: "open"},
		{name: "one refused, and there otherwise too often", ops: give5, said: answered("v"), edit: func(a *attempt) { a.again = false }, look: list(held("5", "read_only")), rows: "failed INVALID_DATA"},
		{name: "one refused for good", ops: give5, said: answered("n"), look: list(held("5", "read_only")), rows: "failed INVALID_DATA"},
		{name: "one entry busy", ops: give58, said: answered("yb"), look: list(held("5", "read_write")), rows: "done, not_attempted CANNOT_PROCESS"},
		{name: "one refused, and no look", ops: give58, said: answered("yn"), look: isBusy, rows: "accepted, failed INVALID_DATA", more: "accepted hidden"},
		{name: "all refused, and no look", ops: give58, said: answered("nn"), look: isBusy, rows: "failed INVALID_DATA, failed INVALID_DATA"},
		{name: "nothing was done, because of a share", before: three, ops: mixed, said: answered("nnn"), look: list(three...), rows: "open, failed INVALID_DATA", risk: ""},
		{name: "nothing was done, because of bystanders", before: three, ops: revoke5, said: answered("nn"), look: list(three...), rows: "failed INVALID_DATA"},
		{name: "nothing is clear, and nothing done", before: three, ops: revoke5, said: answered("??"), look: list(three...), rows: "open"},
		{name: "nothing is clear, and it is done", before: three, ops: revoke5, said: answered("??"), look: list(two...), rows: "done"},
		{name: "a bystander refused and there", before: three, ops: revoke5, said: answered("ny"), look: list(two...), atRisk: "earlier", rows: "done"},
		{name: "a bystander refused and gone", before: three, ops: revoke5, said: answered("ny"), look: list(three[2]), repair: "post user 6"},
		{name: "a bystander refused, and nothing to be seen", before: three, ops: revoke5, said: answered("ny"), look: list(three...), rows: "open", risk: "still had the record at the last look"},
		{name: "a bystander refused, and no look", before: three, ops: revoke5, said: answered("ny"), look: isBusy, rows: "failed maybe", risk: "no look could tell", more: "accepted hidden"},
		{name: "no bystander refused, and no look", before: three, ops: mixed, said: answered("yyn"), look: isBusy, rows: "accepted, failed INVALID_DATA", more: "accepted hidden"},
		// A repair.
		{name: "given back", before: three, ops: revoke5, said: answered("ny"), edit: func(a *attempt) { repair(a, found(accepted, "", ""), three[1]) }, look: list(two...), rows: "done", says: "from user 6, who stay; they were given it back"},
		{name: "lost on the way, given back", before: three, ops: revoke5, said: lostNow, edit: func(a *attempt) { repair(a, lostNow, three[1]) }, look: list(two...), rows: "done", says: "given it back"},
		{name: "lost, not given back", before: three, ops: revoke5, said: lostNow, edit: func(a *attempt) { repair(a, lostNow, three[1]) }, look: list(three[2]), repair: "post user 6"},
		{name: "lost too often, not given back", before: three, ops: revoke5, said: lostNow, edit: func(a *attempt) { repair(a, lostNow, three[1]); a.repairs = mostRepairs }, look: list(three[2]), rows: "done", says: "could not be given it back: reset"},
		{name: "throttled", before: three, ops: revoke5, said: answered("ny"), edit: func(a *attempt) { repair(a, found(throttled, "", ""), three[1]) }, look: list(three[2]), repair: "post user 6"},
		{name: "busy", before: three, ops: revoke5, said: answered("ny"), edit: func(a *attempt) { repair(a, isBusy, three[1]) }, look: list(three[2]), repair: "post user 6"},
		{name: "accepted, and not to be seen", before: three, ops: revoke5, said: answered("ny"), edit: func(a *attempt) { repair(a, found(accepted, "", ""), three[1]) }, look: list(three[2]), rows: "done", says: "could not be given it back", more: "accepted hidden"},
		{name: "refused in part", before: append(three[:3:3], held("8", "read_only")), ops: revoke5, said: answered("nyn"), edit: func(a *attempt) { repair(a, answered("yn"), three[1], held("8", "read_only")) }, look: list(two...), rows: "done", says: "from user 8, who were to keep it, and they could not be given it back: invalid user Id", more: "accepted hidden"},
		{name: "refused", before: three, ops: revoke5, said: answered("ny"), edit: func(a *attempt) {
			repair(a, found(refused, "", "permission denied"), three[1])
		}, look: list(three[2]), rows: "done", says: "could not be given it back: permission denied"},
		{name: "no look after it", before: three, ops: revoke5, said: answered("ny"), edit: func(a *attempt) { repair(a, found(accepted, "", ""), three[1]) }, look: isBusy, rows: "accepted", says: "no look shows whether it has helped", more: "accepted hidden"},
		{name: "no look after one whose answer was lost", before: three, ops: revoke5, said: lostNow, edit: func(a *attempt) { repair(a, lostNow, three[1]) }, look: isBusy, rows: "not_attempted CANNOT_PROCESS", says: "no look shows whether it has helped", more: "accepted"},
		{name: "no look after one that was not taken up", before: three, ops: revoke5, said: lostNow, edit: func(a *attempt) { repair(a, isBusy, three[1]) }, look: isBusy, rows: "not_attempted CANNOT_PROCESS", says: "no look shows whether it has helped"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, c := plan(tt.before, tt.ops, bounds{})
			var served []*row
			for _, op := range tt.ops {
				served = append(served, &row{op: op, sent: 1})
			}
			a := newAttempt(c, served, tt.said, true)
			if tt.edit != nil {
				tt.edit(a)
			}
			n := after(*a, notes{atRisk: tt.atRisk}, tt.look, tt.bounds, tt.stopped)
			var rows, more []string
			for _, d := range n.decisions {
				rows = append(rows, map[bool]string{true: strings.TrimSuffix(brief(d.out), " x0"), false: "open"}[d.decided])
			}
			if n.accepted {
				more = append(more, "accepted")
			}
			if n.hidden.verb != verbNone {
				more = append(more, "hidden")
			}
			got := []string{strings.Join(rows, ", "), "", strings.Join(more, " ")}
			if n.repair.verb != verbNone {
				got[1] = strings.ToLower(method(n.repair.verb)) + " " + recipients(n.repair.entries)
			}
			if diff := cmp.Diff([]string{tt.rows, tt.repair, tt.more}, got); diff != "" {
				t.Errorf("rows, repair and more (-want +got):\n%s", diff)
			}
			if !strings.Contains(n.notes.text, tt.says) || (n.notes.text != "") != (tt.says != "") {
				t.Errorf("says %q, want %q", n.notes.text, tt.says)
			}
			if !strings.Contains(n.notes.atRisk, tt.risk) || (n.notes.atRisk != "") != (tt.risk != "") {
				t.Errorf("at risk %q, want %q", n.notes.atRisk, tt.risk)
			}
		})
	}
}
