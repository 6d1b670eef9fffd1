package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// The window of both accounts' limit, and how long a world's CRM works on a change.
const (
	nightWindow     = 500 * time.Millisecond
	nightProcessing = 40 * time.Millisecond
)

const nightConfig = `
default: lsq
limit: LIMIT/500ms
share: 1
progress: never
accounts:
  lsq:
    crm: leadsquared
    host: BASE
    access_key: env:RIG_ACCESS
    secret_key: env:RIG_SECRET
  crm:
    crm: zoho
    api_url: BASE
    accounts_url: BASE
    client_id: env:RIG_CLIENT
    client_secret: env:RIG_CLIENT_SECRET
    refresh_token: env:RIG_REFRESH
    max_in_flight: 8
    verify_after: 10ms
`

// The size of a world.
const (
	nightQuotes = 7 // Zoho records
	nightGroups = 2 // sales groups
	nightLeads  = 5 // and as many opportunities
	nightUsers  = 6 // who come and go; of each CRM

	nightHeir   = 6 // has Zoho records through a parent
	nightGone   = 7 // is not active any more
	nightTeam   = 900
	nightParent = "Accounts/4150868000002000999"
)

// nightUser and nightQuote are ids of Zoho, none of which looks as if a spreadsheet
// had rounded it.
func nightUser(n int) string { return zohoUser(n + 1) }

func nightQuote(n int) string { return zohoRecord(n + 1) }

// place is one access: somebody, or something, on a record.
type place struct {
	object, record, context string
	who                     string // "user ID", "group ID", "public ", "user ID through PARENT"
}

func (p place) String() string { return p.object + " " + p.record + " " + p.context + " " + p.who }

// userOn returns the place of a user.
func userOn(object, record, context, user string) place {
	return place{object, record, context, "user " + user}
}

// nightWorld is both CRMs over several nights, and what the test knows of them.
type nightWorld struct {
	*rig
	name      string
	dice      *dice
	processes bool // every run is a process, and may be killed
	wire      *nightWire
	journal   string // the sandbox's
	limit     int    // of each account, in a window
	main      *nightSheet
	other     *nightSheet // a second sheet about the same records, with a ledger of its own

	emails  map[string]string // ids by address
	touched map[place][]touch // when and by whom it was changed
	flavour map[int]string    // what is special about a Zoho record
	state   map[place]string  // of the night's start
	asked   int               // LeadSquared's requests at the night's start
	senders []string          // the ledger of each of them
	jobs    int               // Zoho's
	lists   int               // those that others made, of Zoho records
	count   nightCount        // of the world
	story   []string          // what happened, for the log of a failure
}

// touch is a change of an access by a sheet with a ledger; by no sheet of ours, if
// that is empty.
type touch struct {
	at time.Time
	by string
}

// nightCount adds up what a campaign has done.
type nightCount struct{ worlds, nights, runs, kills, stops, rows, quiet int }

func (c *nightCount) add(o nightCount) {
	c.worlds, c.nights, c.runs, c.kills = c.worlds+o.worlds, c.nights+o.nights, c.runs+o.runs, c.kills+o.kills
	c.stops, c.rows, c.quiet = c.stops+o.stops, c.rows+o.rows, c.quiet+o.quiet
}

// nightWire sees every request on its way to the CRM.
type nightWire struct {
	open atomic.Int64
	down atomic.Bool // nothing is answered

	mu       sync.Mutex // guards arrivals
	arrivals map[string][]sandbox.Arrival
}

func (n *nightWire) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.open.Add(1)
		defer n.open.Add(-1)
		account := "crm"
		if bytes.HasPrefix([]byte(r.URL.Path), []byte("/v2/")) {
			account = "lsq"
		}
		n.mu.Lock()
		n.arrivals[account] = append(n.arrivals[account], sandbox.Arrival{At: time.Now(), Path: r.URL.Path})
		n.mu.Unlock()
		if n.down.Load() {
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	})
}

// newNightWorld makes the world of a seed.
func newNightWorld(t *testing.T, seed uint64, processes bool) *nightWorld {
	t.Helper()
	d, delays := newDice(seed, 21), newDice(seed, 22)
	wire := &nightWire{arrivals: map[string][]sandbox.Arrival{}}
	journal := filepath.Join(t.TempDir(), "journal")
	slowest := pick(d, 15, 80) // milliseconds
	life := pick(d, 0, 0, 3*time.Second)
	r := newRig(t, sandbox.Config{
		Latency:     func() time.Duration { return time.Duration(delays.IntN(slowest)) * time.Millisecond },
		Processing:  func() time.Duration { return time.Duration(delays.IntN(int(nightProcessing))) },
		Refusal:     pick(d, sandbox.Refuse429, sandbox.Refuse429|sandbox.Refuse200|sandbox.Refuse403),
		ErrorStatus: pick(d, 0, 200), ShowAllPermissions: true, Journal: journal,
		Zoho: sandbox.ZohoConfig{
			Concurrency: -1, TokenLimit: -1, TokenLife: life, TokenCalls: pick(d, 0, 0, 15), BusyStatus: pick(d, 400, 403),
			BusyReads: d.one(2), SuccessStatus: pick(d, 201, 200), NothingCode: pick(d, "CANNOT_PROCESS", "BAD_REQUEST"),
			EmptyList: d.one(2), Partial: pick(d, sandbox.PartialDrop, sandbox.PartialKeep, sandbox.PartialNobody),
			AmbiguousVisible: d.one(3), LimitPerEntry: d.one(2), Backwards: d.one(2),
			Throttle: pick(d, sandbox.ThrottleJSON, sandbox.ThrottleJSON|sandbox.ThrottleVague|sandbox.ThrottleNumber|sandbox.ThrottleError|sandbox.ThrottlePage),
		},
	}, wire.wrap)
	limit := pick(d, 10, 20, 60)
	r.configure(strings.ReplaceAll(nightConfig, "LIMIT", fmt.Sprint(limit)))
	w := &nightWorld{
		rig: r, name: fmt.Sprint(seed), dice: d, processes: processes, wire: wire, journal: journal, limit: limit,
		emails: map[string]string{}, touched: map[place][]touch{}, flavour: map[int]string{}, count: nightCount{worlds: 1},
	}
	w.populate()
	w.main = &nightSheet{w: w, path: r.path("off.csv"), result: r.path("off.results.csv"), ledger: r.path("off.ledger.db")}
	if d.one(3) {
		w.main.result, w.main.ledger = r.path("elsewhere.csv"), r.path("kept.db")
		w.main.flags = []string{"-o", w.main.result, "--ledger", w.main.ledger}
	}
	w.other = &nightSheet{w: w, path: r.path("other.csv"), result: r.path("other.results.csv"), ledger: r.path("other.ledger.db")}
	for _, s := range []*nightSheet{w.main, w.other} {
		s.comma, s.end, s.mark = pick(d, ',', ';', '\t'), pick(d, "\n", "\r\n"), d.one(3)
	}
	return w
}

// populate makes users, records and who has them.
func (w *nightWorld) populate() {
	known := func(id string, active bool, role string) {
		w.server.AddUser(crm.User{ID: id, Email: addressOf(id), Active: active}, role)
		w.emails[addressOf(id)] = id
	}
	for n := range nightGone + 1 {
		known(guidOf('u', n), n != nightGone, "Sales_User")
		known(nightUser(n), n != nightGone, "Standard")
	}
	for n := range nightQuotes {
		var grants []crm.Grant
		for u := range nightUsers {
			if w.dice.one(2) {
				grants = append(grants, w.grant(nightUser(u)))
			}
		}
		w.flavour[n] = pick(w.dice, "", "", "", "", "team", "inherited", "public", "gone")
		switch w.flavour[n] {
		case "team":
			grants = append(grants, crm.Grant{Kind: "group", ID: nightUser(nightTeam), Access: crm.Write, Type: "private"})
		case "inherited":
			grants = append(grants, crm.Grant{Kind: "user", ID: nightUser(nightHeir), Access: crm.Read, Type: "private", Through: nightParent})
		case "public":
			grants = append(grants, crm.Grant{Kind: "public", Access: crm.Read})
		case "gone":
			grants = append(grants, w.grant(nightUser(nightGone)))
		}
		w.server.SeedZoho("Quotes", nightQuote(n), grants...)
	}
	has := func(op crm.Operation) {
		op.Action = crm.Revoke
		w.server.Seed(op)
	}
	for u := range nightUsers {
		for g := range nightGroups {
			if w.dice.one(2) {
				has(crm.Operation{Object: crm.SalesGroup, Record: guidOf('e', g), User: guidOf('u', u)})
			}
		}
		for n := range nightLeads {
			if w.dice.one(2) {
				has(crm.Operation{Object: crm.Lead, Record: fmt.Sprint(7000 + n), Context: guidOf('c', n), User: guidOf('u', u), Access: crm.Read})
			}
			if w.dice.one(2) {
				has(crm.Operation{Object: crm.Opportunity, Record: guidOf('o', n), User: guidOf('u', u), Access: crm.Write})
			}
		}
	}
}

// grant is a direct share of a Zoho record at a level of the dice.
func (w *nightWorld) grant(user string) crm.Grant {
	return crm.Grant{Kind: "user", ID: user, Access: crm.Read + crm.Access(w.dice.IntN(3)), Related: w.dice.one(2), Type: "private"}
}

// standing is who has what now.
func (w *nightWorld) standing() map[place]string {
	all := map[place]string{}
	for key, grants := range w.server.Records() {
		var p place
		p.object, p.record = key[:len("Quotes")], key[len("Quotes/"):]
		for _, g := range grants {
			p.who = g.Kind + " " + g.ID
			if g.Through != "" {
				p.who += " through " + g.Through
			}
			all[p] = fmt.Sprintf("%v %t", g.Access, g.Related)
		}
	}
	for _, s := range w.server.Shares() {
		level := s.Access.String()
		if s.Object == crm.SalesGroup {
			level = "member " + s.Permissions.String()
		}
		all[userOn(s.Object, s.Record, s.Context, s.User)] = level
	}
	return all
}

// calm waits until the CRM has nothing under way any more.
func (w *nightWorld) calm() {
	w.t.Helper()
	until(w.t, "requests are still under way", func() bool { return w.wire.open.Load() == 0 })
	time.Sleep(nightProcessing + 10*time.Millisecond)
}

// others change shares, by no sheet of ours.
func (w *nightWorld) others() {
	w.t.Helper()
	for range w.dice.IntN(4) {
		if w.dice.one(2) {
			w.othersOnQuote()
		} else {
			w.othersOnLead()
		}
	}
	w.calm()
}

func (w *nightWorld) othersOnQuote() {
	record, user := nightQuote(w.dice.IntN(nightQuotes)), nightUser(w.dice.IntN(nightUsers))
	grants := slices.Clone(w.server.Grants("Quotes", record))
	at := slices.IndexFunc(grants, func(g crm.Grant) bool { return g.ID == user && g.Through == "" })
	switch {
	case at < 0:
		grants = append(grants, w.grant(user))
	case w.dice.one(2):
		grants = slices.Delete(grants, at, at+1)
	default:
		grants[at] = w.grant(user)
	}
	w.server.SeedZoho("Quotes", record, grants...)
	w.touch(userOn("Quotes", record, "", user), time.Now())
}

// othersOnLead shares or revokes a lead or changes a sales group with the CRM's own
// calls, past the wire.
func (w *nightWorld) othersOnLead() {
	n, user := w.dice.IntN(nightLeads), guidOf('u', w.dice.IntN(nightUsers))
	entry := map[string]any{"UserId": user, "EntityType": 3, "Entity": 5, "EntityId": guidOf('o', n), "AccessType": 1 + w.dice.IntN(2)}
	at, path, body := userOn(crm.Opportunity, guidOf('o', n), "", user), "EntityAccess.svc/"+pick(w.dice, "Share", "Revoke"), any([]any{entry})
	switch w.dice.IntN(3) {
	case 0:
		entry["Entity"], entry["EntityId"], entry["ContextEntity"], entry["ContextEntityId"] = 1, fmt.Sprint(7000+n), 1, guidOf('c', n)
		at = userOn(crm.Lead, fmt.Sprint(7000+n), guidOf('c', n), user)
	case 1:
		group := guidOf('e', n%nightGroups)
		at, path, body = userOn(crm.SalesGroup, group, "", user), "UserGroup.svc/RemoveUsers", map[string]any{"GroupId": group, "UserIds": []string{user}}
		if w.dice.one(2) {
			path, body = "UserGroup.svc/AddUsers", map[string]any{"GroupId": group, "GroupUsers": []any{map[string]any{"UserId": user}}}
		}
	}
	text, err := json.Marshal(body)
	must(w.t, err)
	req := httptest.NewRequest(http.MethodPost, w.base+"/v2/"+path, bytes.NewReader(text))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-LSQ-AccessKey", "somebody")
	req.Header.Set("x-LSQ-SecretKey", "else")
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		w.t.Fatalf("somebody else's %s %s: %d %s", path, text, rec.Code, rec.Body)
	}
	w.touch(at, time.Now())
}

// touch notes that somebody else has changed an access, or does so until a time.
func (w *nightWorld) touch(p place, at time.Time) {
	w.touched[p] = append(w.touched[p], touch{at: at})
	w.tell("somebody else changes %v", p)
}

// tell adds a line to the story of the world.
func (w *nightWorld) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}
