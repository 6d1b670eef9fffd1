package zoho

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// Finder sees who has what in one organisation: records by looking at each, their ids and
// owners by queries. All that it sends through reads. It is safe for concurrent use.
type Finder struct {
	*reader
	composite *compositeLooks // nil: each look is a request of its own
}

var _ crm.Finder = (*Finder)(nil)

// NewFinder returns a finder that reads through a client of its own, made from tr as New
// does. It reads by v8 where the configuration names an older version, which does not show
// all of it.
func NewFinder(cfg Config, tr transport.Config, store *transport.Store) (*Finder, error) {
	r, client, err := cfg.connect(tr, store)
	if err != nil {
		return nil, fmt.Errorf("zoho: %w", err)
	}
	r.dialect = r.dialect.ofFinder()
	version := r.dialect.version
	r.through(transport.NewReader(client, transport.Reads{
		Gets:  []string{"/crm/" + version + "/"},
		Posts: map[string]func([]byte) error{compositePath(version): onlyLooks, queryPath(version): onlySelect},
		Grant: r.tokens.url,
	}))
	f := &Finder{reader: r}
	if cfg.Composite {
		f.composite = &compositeLooks{r: r, places: &places{}}
	}
	return f, nil
}

// Sees implements crm.Finder.
func (f *Finder) Sees() crm.Sight {
	s := crm.Sight{
		Groups: true, Records: true, Lists: true, Looks: 1, IDs: idsPerPage, ListCredits: idsCredits,
		Never: []string{"Zoho access by role, profile, territory or sharing rule, which no record shows"},
	}
	if f.composite != nil {
		s.Looks = mostComposite
	}
	return s
}

// fetch reads something that is no list of shares, which takes the scope. The error is what
// ended ctx, an *crm.AccountError, or an *crm.Unseen.
func (f *Finder) fetch(ctx context.Context, scope string, req transport.Request) (finding, error) {
	got := f.read(ctx, verbRead, "", req)
	if got.Class == shown {
		return got, nil
	}
	switch {
	case got.Ended != nil:
		return got, got.Ended
	case ctx.Err() != nil:
		return got, context.Cause(ctx)
	}
	return got, unseen(f.explainRead(got, scope))
}

// unseen is what a read that showed nothing says: the CRM's code where it refused, and
// crm.CodeNoAnswer where nothing of use came.
func unseen(f finding) *crm.Unseen {
	return &crm.Unseen{Code: cmp.Or(f.Code, crm.CodeNoAnswer), Message: f.Text}
}

// unreliable is what an answer says that can not be relied on.
func unreliable(why string) *crm.Unseen {
	return &crm.Unseen{Code: crm.CodeNoAnswer, Message: "the answer can not be relied on: " + why}
}

// Look asks for the lists of the records together, where the account may ask so, and for
// those by themselves that did not come, or of which it is not sure whose they are.
func (f *Finder) Look(ctx context.Context, records []crm.RecordID) []crm.Look {
	out := make([]crm.Look, len(records))
	var looks []wanted
	var at []int // where the looks stand among the records
	for i, r := range records {
		object, reason := readModule(r.Object)
		_, closed := f.closed.Load(request{verbLook, object})
		switch {
		case reason != "":
			out[i].Refused = &crm.Unseen{Code: crm.CodeInvalid, Message: "the module " + reason}
		case !number.MatchString(r.Record):
			out[i].Refused = &crm.Unseen{Code: crm.CodeInvalid, Message: crm.Quote(r.Record) + " is no Zoho record id"}
		case closed:
			out[i] = f.judge(ctx, f.look(ctx, "", object, r.Record)) // which sends nothing
		default:
			looks, at = append(looks, wanted{object, r.Record}), append(at, i)
		}
	}
	for len(looks) > 0 {
		n := min(len(looks), mostComposite)
		for i, seen := range f.together(ctx, looks[:n]) {
			out[at[i]] = f.judge(ctx, seen)
		}
		looks, at = looks[n:], at[n:]
	}
	return out
}

// together looks at up to five records.
func (f *Finder) together(ctx context.Context, looks []wanted) []finding {
	found, sure := make([]finding, len(looks)), false
	if f.composite != nil && !f.composite.refused() {
		found, sure = f.composite.send(ctx, looks)
	}
	sure = sure || alike(found)
	for i, l := range looks {
		switch {
		case found[i].Class == shown:
		case sure && found[i].Class == refused:
			found[i] = f.explainShare(found[i], verbLook, l.object)
		default:
			found[i] = f.patientLook(ctx, l)
		}
	}
	return found
}

// alike says whether all looks of a bundle were refused in the same words: then it does not
// matter which answer is whose.
func alike(found []finding) bool {
	return !slices.ContainsFunc(found, func(f finding) bool {
		return f.Class != refused || f.Code != found[0].Code || f.Text != found[0].Text
	})
}

// busyLooks are the pauses before a record is looked at again that has a job under way.
func busyLooks() []time.Duration { return []time.Duration{busyFor, 5 * time.Second, 10 * time.Second} }

// patientLook looks at one record, and waits for it if it is busy.
func (f *Finder) patientLook(ctx context.Context, l wanted) finding {
	for _, pause := range busyLooks() {
		seen := f.look(ctx, "", l.object, l.record)
		if seen.Class != busy || !wait(ctx, pause) {
			return seen
		}
	}
	return f.look(ctx, "", l.object, l.record)
}

// judge is what a look at a record comes to.
func (f *Finder) judge(ctx context.Context, seen finding) (l crm.Look) {
	switch {
	case seen.Class == shown:
		l.State = crm.State{Looked: true, Grants: grants(seen.list)}
	case seen.Ended != nil:
		l.Ended = seen.Ended
	case ctx.Err() != nil:
		l.Refused = &crm.Unseen{Message: context.Cause(ctx).Error()}
	case gone(seen):
		l.Gone = true
	default:
		l.Refused = unseen(seen)
	}
	return l
}

// goneText is what the CRM says of an id that no record has.
var goneText = regexp.MustCompile(`(?i)^(entity_id_invalid|the id given seems to be invalid\.?)$`)

// gone says whether a refusal is that of a record that is not there: of its id, and not of
// its module.
func gone(f finding) bool {
	if f.Class != refused {
		return false
	}
	code, index := strings.ToUpper(f.Code), detail(f.details, "resource_path_index")
	return (code == "ENTITY_ID_INVALID" || code == "INVALID_DATA" && goneText.MatchString(f.Text)) && (index == "" || index == "1")
}

// ofFinder is the dialect of all that a finder reads: that of v8 where the setting is older.
func (d dialect) ofFinder() dialect {
	for _, old := range []string{"v2", "v3", "v4", "v5", "v6", "v7"} {
		if d.is(old) {
			d.version = lookVersion
		}
	}
	d.userKey, d.typed = false, true
	return d
}

// less says whether an id stands before another one in the order of their numbers. An id
// has no zeros before it.
func less(a, b string) bool { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) < 0 }

// plain says whether a text is an id that has one spelling only.
func plain(id string) bool { return number.MatchString(id) && id[0] != '0' }
