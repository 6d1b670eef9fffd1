package leadsquared

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	membersPath = "GET /v2/UserGroup.svc/RetrieveUsers?GroupId=" + team
	groupsPath  = "GET /v2/UserGroup.svc/Retrieve"
	addPath     = "POST /v2/UserGroup.svc/AddUsers"
	removePath  = "POST /v2/UserGroup.svc/RemoveUsers"
	groupID     = "2642b271-f7ba-4e47-8043-34154b10c913"
	third       = "0591e181-7ab2-11e8-8266-06ee26114d5a"
)

func groupAccepted(id string) string {
	return `{"Status":"Success","Response":{"RequestType":"Add Group Users","RequestId":"` + id + `"}}`
}

// seen is a look at the group with these members, as the vendor shows them.
func seen(rows ...string) step {
	n := string(rune('0' + len(rows)))
	return step{want: membersPath, reply: `{"RecordCount":` + n + `,"GroupUsers":[` + strings.Join(rows, ",") + `]}`}
}

// plain is a member as the vendor's sample shows one: without permissions, and
// without a word on accounts.
func plain(id string) string {
	return `{"GroupId":"` + strings.ToUpper(team) + `","GroupName":"A","UserId":"` + strings.ToUpper(id) + `","UserName":"B",
		"ViewAllLeadsOfGroup":false,"ModifyAllLeadsOfGroup":false,"AddUsersToGroup":false,"CreateGroupAutomation":false}`
}

func manager(id string) string {
	return strings.Replace(plain(id), `"AddUsersToGroup":false`, `"AddUsersToGroup":true`, 1)
}

func join(id string, p crm.Permissions) crm.Operation {
	return crm.Operation{Action: crm.Share, Object: crm.SalesGroup, Record: team, User: id, Permissions: p}
}

func leave(id string) crm.Operation {
	return crm.Operation{Action: crm.Revoke, Object: crm.SalesGroup, Record: team, User: id}
}

func adding(reply string, status int, ids ...string) step {
	var users []string
	for _, id := range ids {
		users = append(users, `{"UserId":"`+id+`","ViewAllAccountsOfGroup":false,"ModifyAllAccountsOfGroup":false,
			"ViewAllLeadsOfGroup":false,"ModifyAllLeadsOfGroup":false,"AddUsersToGroup":false,"CreateGroupAutomation":false}`)
	}
	return step{want: addPath, status: status, reply: reply, body: `{"GroupId":"` + team + `","GroupUsers":[` + strings.Join(users, ",") + `]}`}
}

func removing(reply string, status int, ids ...string) step {
	return step{want: removePath, status: status, reply: reply, body: `{"GroupId":"` + team + `","UserIds":["` + strings.Join(ids, `","`) + `"]}`}
}

func groupTaken(id string, n int) crm.Outcome {
	return crm.Outcome{Status: crm.Accepted, RequestID: id, Ticket: "group:" + team, HTTPStatus: 200, Attempts: n}
}

func TestGroupChanges(t *testing.T) {
	t.Parallel()
	page := step{status: 502, reply: "<html>"}
	at := func(want string, s step) step { s.want = want; return s }
	lostAdd, lostRemove := adding("<html>", 502, leaver), removing("<html>", 502, leaver)
	unknown := exception("MXUnknownUserException", "no such user")
	unchanged := crm.Outcome{Status: crm.Unchanged, HTTPStatus: 200}
	for name, c := range map[string]struct {
		cfg   Config
		call  crm.Call
		prior crm.Prior
		steps []step
		want  []crm.Outcome
		says  string // of the first outcome
	}{
		"removed": {call: items(leave(leaver)), steps: []step{seen(plain(leaver), plain(colleague)), removing(groupAccepted(groupID), 200, leaver)},
			want: []crm.Outcome{groupTaken(groupID, 1)}},
		"added": {call: items(join(leaver, 0)), steps: []step{seen(), adding(groupAccepted(groupID), 200, leaver)},
			want: []crm.Outcome{groupTaken(groupID, 1)}},
		"the vendor's sample": {
			cfg:  Config{CallbackURL: "https://example.test/hook"},
			call: items(join("0403250f-7ab2-11e8-8266-06ee26114d5a", crm.ViewAllAccountsOfGroup|crm.ModifyAllAccountsOfGroup|crm.ViewAllLeadsOfGroup), join(third, 0)),
			steps: []step{seen(), {want: addPath, reply: groupAccepted(groupID), body: `{"GroupId":"ed3ea545-b1fa-11e9-9371-0666b2d6ef5e","GroupUsers":[
				{"UserId":"0403250f-7ab2-11e8-8266-06ee26114d5a","ViewAllAccountsOfGroup":true,"ModifyAllAccountsOfGroup":true,"ViewAllLeadsOfGroup":true,"ModifyAllLeadsOfGroup":false,"AddUsersToGroup":false,"CreateGroupAutomation":false},
				{"UserId":"0591e181-7ab2-11e8-8266-06ee26114d5a","ViewAllAccountsOfGroup":false,"ModifyAllAccountsOfGroup":false,"ViewAllLeadsOfGroup":false,"ModifyAllLeadsOfGroup":false,"AddUsersToGroup":false,"CreateGroupAutomation":false}],
				"CallbackURL":"https://example.test/hook"}`}},
			want: []crm.Outcome{groupTaken(groupID, 1), groupTaken(groupID, 1)}},
		"path and callback of a removal": {
			cfg:   Config{RemoveUsersPath: "/v2/UserGroup.svc/Users/Remove", CallbackURL: "https://example.test/hook"},
			call:  items(leave(leaver)),
			steps: []step{seen(plain(leaver)), {want: "POST /v2/UserGroup.svc/Users/Remove", reply: groupAccepted(groupID), body: `{"GroupId":"` + team + `","UserIds":["` + leaver + `"],"CallbackURL":"https://example.test/hook"}`}},
			want:  []crm.Outcome{groupTaken(groupID, 1)}},
		"already so": {call: items(leave(leaver), join(colleague, 0), join(third, crm.AddUsersToGroup)), steps: []step{seen(plain(colleague), manager(third))},
			want: []crm.Outcome{unchanged, unchanged, unchanged}, says: "not a member"},
		"other permissions": {call: items(join(leaver, 0)), steps: []step{seen(manager(leaver)), adding(groupAccepted(groupID), 200, leaver)},
			want: []crm.Outcome{groupTaken(groupID, 1)}},
		"adds, removals and chunks": {
			cfg: Config{MaxUsers: 1}, call: items(join(leaver, 0), leave(colleague), join(third, 0)),
			steps: []step{seen(plain(colleague)), adding(groupAccepted("a"), 200, leaver), adding(groupAccepted("b"), 200, third), removing(groupAccepted("c"), 200, colleague)},
			want:  []crm.Outcome{groupTaken("a", 1), groupTaken("c", 1), groupTaken("b", 1)}},
		"one bad user": {call: items(leave(leaver), leave(colleague), leave(third)),
			steps: []step{seen(plain(leaver), plain(colleague), plain(third)), removing(unknown, 500, leaver, colleague, third),
				removing(groupAccepted("a"), 200, leaver), removing(unknown, 500, colleague, third), removing(groupAccepted("b"), 200, colleague), removing(unknown, 500, third)},
			want: []crm.Outcome{groupTaken("a", 2), groupTaken("b", 3), {Status: crm.Failed, Code: "MXUnknownUserException", HTTPStatus: 500, Attempts: 3}}},
		"lost, and a look shows it done": {call: items(leave(leaver)), steps: []step{seen(plain(leaver)), lostRemove, seen()},
			want: []crm.Outcome{{Status: crm.Done, HTTPStatus: 200, Attempts: 1}}, says: "a look at the group shows"},
		"lost, looked up and sent again": {call: items(join(leaver, 0)), steps: []step{seen(), lostAdd, seen(), adding(groupAccepted(groupID), 200, leaver)},
			want: []crm.Outcome{groupTaken(groupID, 2)}, says: "sent again after a lost answer"},
		"lost, and half of it done": {call: items(leave(leaver), leave(colleague)),
			steps: []step{seen(plain(leaver), plain(colleague)), removing("{}", 200, leaver, colleague), seen(plain(colleague)), removing(groupAccepted(groupID), 200, colleague)},
			want:  []crm.Outcome{{Status: crm.Done, HTTPStatus: 200, Attempts: 1}, groupTaken(groupID, 2)}, says: "a look at the group shows"},
		"lost, and no look comes through": {call: items(leave(leaver)),
			steps: []step{seen(plain(leaver)), lostRemove, {want: membersPath, status: 500, reply: exception("MXUnknownGroupException", "gone")}},
			want:  []crm.Outcome{{Status: crm.Failed, Code: "no_answer", HTTPStatus: 502, Attempts: 1, Uncertain: true}}, says: "running again"},
		"lost three times": {call: items(leave(leaver)),
			steps: []step{seen(plain(leaver)), lostRemove, seen(plain(leaver)), lostRemove, seen(plain(leaver)), lostRemove, seen(plain(leaver))},
			want:  []crm.Outcome{{Status: crm.Failed, Code: "no_answer", HTTPStatus: 502, Attempts: 3, Uncertain: true}}, says: "sent again after a lost answer"},
		"lost, refused, and done after all": {call: items(leave(leaver)),
			steps: []step{seen(plain(leaver)), lostRemove, seen(plain(leaver)), removing(exception("MXInvalidInputException", "not a member"), 500, leaver), seen()},
			want:  []crm.Outcome{{Status: crm.Done, HTTPStatus: 200, Attempts: 2}}, says: "a look at the group shows"},
		"throttled": {call: items(join(leaver, 0)), steps: []step{at(membersPath, step{status: 429, reply: limitBody}), seen(), adding(limitBody, 200, leaver), adding(groupAccepted(groupID), 200, leaver)},
			want: []crm.Outcome{groupTaken(groupID, 1)}},
		"lost in an earlier run, and done": {call: items(join(leaver, 0)), prior: crm.PriorUnanswered, steps: []step{seen(plain(leaver))},
			want: []crm.Outcome{{Status: crm.Done, HTTPStatus: 200}}, says: "a look at the group shows"},
		"lost in an earlier run, and not done": {call: items(join(leaver, 0)), prior: crm.PriorUnanswered, steps: []step{seen(), adding(groupAccepted(groupID), 200, leaver)},
			want: []crm.Outcome{groupTaken(groupID, 1)}, says: "sent again after a lost answer"},
		"unconfirmed in an earlier run": {call: items(leave(leaver)), prior: crm.PriorAccepted, steps: []step{seen(plain(leaver)), removing(groupAccepted(groupID), 200, leaver)},
			want: []crm.Outcome{groupTaken(groupID, 1)}, says: "sent again after it stayed unconfirmed"},
		"an unknown group": {call: items(leave(leaver), join(colleague, 0)), steps: []step{{want: membersPath, status: 500, reply: exception("MXUnknownGroupException", "no such group")}},
			want: []crm.Outcome{{Status: crm.Failed, Code: "MXUnknownGroupException", HTTPStatus: 500}, {Status: crm.Failed, Code: "MXUnknownGroupException", HTTPStatus: 500}}, says: "nothing was sent"},
		"no look comes through": {call: items(leave(leaver)), steps: []step{at(membersPath, page), at(membersPath, page), at(membersPath, page)},
			want: []crm.Outcome{{Status: crm.Pending, Code: "no_answer", HTTPStatus: 502, Later: transport.ComeBack}}, says: "nothing of use"},
		"nobody in it": {call: items(leave(leaver)), steps: []step{seen(), {want: groupsPath, reply: `{"RecordCount":1,"UserGroups":[{"GroupId":"` + strings.ToUpper(team) + `","UserCount":"0"}]}`}},
			want: []crm.Outcome{unchanged}, says: "not a member"},
		"no such group": {call: items(leave(leaver), join(colleague, 0)), steps: []step{seen(), {want: groupsPath, reply: `{"RecordCount":1,"UserGroups":[{"GroupId":"` + third + `","UserCount":"0"}]}`},
			adding(unknown, 500, colleague)},
			want: []crm.Outcome{{Status: crm.Failed, Code: "unknown_group", HTTPStatus: 200}, {Status: crm.Failed, Code: "MXUnknownUserException", HTTPStatus: 500, Attempts: 1}}, says: "no sales group"},
		"nobody in it, and no list of groups": {call: items(leave(leaver)), steps: []step{seen(), {want: groupsPath, reply: `{"RecordCount":2,"UserGroups":[]}`}},
			want: []crm.Outcome{unchanged}, says: "not a member"},
		"a list without its members": {call: items(leave(leaver)), steps: []step{{want: membersPath, reply: `{"RecordCount":3}`}},
			want: []crm.Outcome{{Status: crm.Pending, Code: "no_answer", HTTPStatus: 200, Later: transport.ComeBack}}, says: "missing"},
		"a list that is cut": {call: items(leave(leaver)), steps: []step{{want: membersPath, reply: `{"RecordCount":2,"GroupUsers":[` + plain(colleague) + `]}`}},
			want: []crm.Outcome{{Status: crm.Pending, Code: "no_answer", HTTPStatus: 200, Later: transport.ComeBack}}, says: "shorter"},
		"refused keys": {call: items(leave(leaver), join(colleague, 0)), steps: []step{{want: membersPath, status: 401, reply: "{}"}},
			want: []crm.Outcome{{Status: crm.Pending, Code: "keys", HTTPStatus: 401}, {Status: crm.Pending, Code: "keys", HTTPStatus: 401}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range c.call.Items {
				c.call.Items[i].Prior = c.prior
			}
			out, s := do(t, c.cfg, c.call, c.steps...)
			if diff := cmp.Diff(c.want, out, textless); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if !strings.Contains(out[0].Message, c.says) {
				t.Errorf("message %q, want it to say %q", out[0].Message, c.says)
			}
			for i, o := range out {
				if (o.Ended != nil || o.Later > 0) != (o.Status == crm.Pending) {
					t.Errorf("outcome %d: ended %v, later %v", i, o.Ended, o.Later)
				}
			}
			intents(t, s)
		})
	}
}

func TestGroupJournalHoldsTheLook(t *testing.T) {
	t.Parallel()
	_, s := do(t, Config{}, items(leave(leaver)), seen(plain(colleague), manager(leaver)), removing(groupAccepted(groupID), 200, leaver))
	want := []crm.State{{Looked: true, Grants: []crm.Grant{
		{Kind: "user", ID: leaver, Permissions: crm.AddUsersToGroup}, {Kind: "user", ID: colleague},
	}}}
	if diff := cmp.Diff(want, s.states); diff != "" {
		t.Errorf("states before (-want +got):\n%s", diff)
	}
}

func TestGroupPermissionsOneByOne(t *testing.T) {
	t.Parallel()
	for i, name := range crm.PermissionNames() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row := `{"UserId":"` + leaver + `","` + name + `":true}`
			who := members{}
			if m, why := readMembers([]byte(`{"GroupUsers":[`+row+`]}`), team); why == "" {
				who = m
			}
			want := crm.Permissions(1) << i
			if got := who[leaver]; got.has != want || got.shown != want {
				t.Errorf("read %v of %v shown, want %v", got.has, got.shown, want)
			}
			body := step{want: addPath, reply: groupAccepted(groupID), body: strings.Replace(adding("", 0, leaver).body, `"`+name+`":false`, `"`+name+`":true`, 1)}
			out, _ := do(t, Config{}, items(join(leaver, want)), seen(plain(leaver)), body)
			if out[0].Status != crm.Accepted {
				t.Errorf("outcome %+v, want accepted", out[0])
			}
		})
	}
}

func TestReadMembers(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"RecordCount":0,"GroupUsers":[]}`:                            "",
		`{"RecordCount":"0"}`:                                          "",
		`{"GroupUsers":[{"UserId":"` + leaver + `"}]}`:                 "",
		`{"RecordCount":0,"GroupUsers":null}`:                          "",
		`{}`:                                                           "missing",
		`{"GroupUsers":null}`:                                          "missing",
		`{"GroupUsers":[]}`:                                            "without its count",
		`{"RecordCount":null,"GroupUsers":[]}`:                         "without its count",
		`{"RecordCount":"","GroupUsers":[]}`:                           "without its count",
		`{"RecordCount":"none","GroupUsers":[]}`:                       "count is not readable",
		`{"RecordCount":-1,"GroupUsers":[]}`:                           "count is not readable",
		`{"RecordCount":1,"RecordCount":0}`:                            "count is not readable",
		`{"RecordCount":1,"GroupUsers":[]}`:                            "shorter",
		`{"RecordCount":1}`:                                            "missing",
		`{"RecordCount":0,"GroupUsers":[{"UserId":"` + leaver + `"}]}`: "longer",
		`{"RecordCount":2,"GroupUsers":[{"UserId":"` + leaver + `"},{"userid":"` + leaver + `"}]}`:  "twice",
		`{"GroupUsers":[{"UserId":"` + leaver + `"}],"groupusers":[]}`:                              "not readable",
		`{"RecordCount":1,"GroupUsers":[{"UserId":"` + leaver + `","userId":"` + colleague + `"}]}`: "without an id",
		`{"GroupUsers":"none"}`:                                                                               "not readable",
		`{"GroupUsers":[{"UserId":null}]}`:                                                                    "without an id",
		`{"RecordCount":2,"GroupUsers":[{"UserId":"` + leaver + `"}]}`:                                        "shorter",
		`{"GroupUsers":[{"GroupId":"` + colleague + `","UserId":"` + leaver + `"}]}`:                          "another group",
		`{"GroupUsers":[{"GroupId":"` + colleague + `","GroupId":"` + team + `","UserId":"` + leaver + `"}]}`: "another group",
		`{"GroupUsers":[{"GroupId":"the team","UserId":"` + leaver + `"}]}`:                                   "another group",
		`{"GroupUsers":[{"GroupId":"{` + strings.ToUpper(team) + `}","UserId":"` + leaver + `"}]}`:            "",
	} {
		m, why := readMembers([]byte(body), team)
		if (why == "") != (want == "") || !strings.Contains(why, want) || (m == nil) != (why != "") {
			t.Errorf("%s: %v, %q; want %q", body, m, why, want)
		}
	}
}

// TestNoListBesideAnError: nothing is told or sent because of a list of members that
// stands beside an error, and neither is a confirmation.
func TestNoListBesideAnError(t *testing.T) {
	t.Parallel()
	empty := `"RecordCount":0,"GroupUsers":[]`
	for name, reply := range map[string]step{
		"a text of an exception": {reply: `{` + empty + `,"ExceptionMessage":"try later"}`},
		"an error message":       {reply: `{` + empty + `,"ErrorMessage":"try later"}`},
		"an unknown status":      {reply: `{"Status":"Pending",` + empty + `}`},
		"an error":               {reply: `{"Status":"Error",` + empty + `}`},
		"an exception":           {reply: `{"ExceptionType":"SystemException",` + empty + `}`},
		"a status of its own":    {reply: `{` + empty + `}`, status: 206},
		"no count":               {reply: `{"GroupUsers":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reply.want = membersPath
			out, _ := do(t, Config{}, items(join(leaver, 0), leave(colleague)), reply)
			for _, o := range out {
				if o.Status != crm.Pending && o.Status != crm.Failed || o.Attempts != 0 {
					t.Errorf("outcome %+v, want nothing sent", o)
				}
			}
			if o := confirm(t, Config{}, groupTicket+team, []crm.Operation{leave(leaver)}, reply)[0]; o.Status != crm.Accepted {
				t.Errorf("a look for a confirmation gives %+v, want accepted still", o)
			}
		})
	}
}

func TestReadGroups(t *testing.T) {
	t.Parallel()
	one := `{"GroupId":"` + team + `"}`
	for body, want := range map[string]string{
		`{"RecordCount":1,"UserGroups":[` + one + `]}`:                    "",
		`{"RecordCount":0,"UserGroups":[]}`:                               "",
		`{"UserGroups":[]}`:                                               "without its count",
		`{"RecordCount":2,"UserGroups":[` + one + `]}`:                    "shorter",
		`{"RecordCount":2,"UserGroups":[` + one + `,` + one + `]}`:        "twice",
		`{"RecordCount":1,"UserGroups":[` + one + `],"usergroups":[]}`:    "not readable",
		`{"RecordCount":1,"UserGroups":[{"GroupId":"x"}]}`:                "without an id",
		`{"RecordCount":1,"UserGroups":[{"GroupId":null,"Name":"Team"}]}`: "without an id",
		`{}`: "missing",
		`[]`: "not readable",
	} {
		known, why := readGroups([]byte(body))
		if (why == "") != (want == "") || !strings.Contains(why, want) || (known == nil) != (why != "") {
			t.Errorf("%s: %v, %q; want %q", body, known, why, want)
		}
	}
}

func TestConfirmGroup(t *testing.T) {
	t.Parallel()
	ticket := groupTicket + team
	ops := []crm.Operation{
		leave(leaver), leave(colleague), join(leaver, 0), join(colleague, 0), join(third, 0),
		join(third, crm.AddUsersToGroup), join(third, crm.AddUsersToGroup|crm.ViewAllAccountsOfGroup),
	}
	out := confirm(t, Config{}, ticket, ops, seen(plain(colleague), manager(third)))
	done := crm.Outcome{Status: crm.Done, HTTPStatus: 200}
	notYet := func(code string) crm.Outcome {
		return crm.Outcome{Status: crm.Accepted, Ticket: ticket, Code: code, HTTPStatus: 200}
	}
	want := []crm.Outcome{done, notYet("still_member"), notYet("not_member"), done, notYet("permissions_differ"), done, done}
	if diff := cmp.Diff(want, out, textless); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if got := out[6].Message; !strings.Contains(got, "does not show ViewAllAccountsOfGroup") {
		t.Errorf("message %q does not name the permission that is not shown", got)
	}

	out = confirm(t, Config{}, ticket, ops[:1], step{want: membersPath, status: 500, reply: exception("MXUnknownGroupException", "gone")})
	if o := out[0]; o.Status != crm.Accepted || o.Ticket != ticket || o.Code != "MXUnknownGroupException" {
		t.Errorf("a refused look gives %+v, want accepted", o)
	}
	ops[0].Record = "x&y"
	out = confirm(t, Config{}, ticket, ops[:1])
	if o := out[0]; o.Status != crm.Accepted || o.Code != "invalid" {
		t.Errorf("an odd group gives %+v, want accepted and nothing asked", o)
	}
}
