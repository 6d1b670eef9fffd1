package find

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The kinds of parts.
const (
	partGroups  = "groups"
	partLedgers = "ledgers"
	partRecords = "records"
	partModule  = "module"
	partModules = "modules" // where even their list is refused
)

// part is a part of what an account is asked.
type part struct {
	kind   string
	scope  string // for people
	key    string // in the work file
	object string // of a module
	file   *RecordsFile

	skip   string // why it is left alone; "" where it is not
	public bool   // it is left alone as everybody sees everything there
	fine   bool   // that it is left alone keeps nobody from calling the rest complete
	// refused is why nothing of it, or no more of it, was shown.
	refused string
	*progress
}

// run looks at all that the account is asked about, part by part.
func (a *account) run(ctx context.Context) error {
	for _, p := range a.parts {
		if a.ended != nil {
			return nil
		}
		if p.skip != "" || p.refused != "" || p.ended {
			continue
		}
		var err error
		switch p.kind {
		case partGroups:
			err = a.askGroups(ctx, p)
		case partRecords:
			err = a.lookThrough(ctx, p, p.file.records(p.n, a.Record))
			err = a.end(p, err, workLine{})
		case partModule:
			err = a.lookAtModule(ctx, p)
		}
		ended, over := errors.AsType[*crm.AccountError](err)
		unseen, refused := errors.AsType[*crm.Unseen](err)
		switch {
		case over:
			a.ended = ended
		case refused:
			p.refused = unseen.Error()
		case err != nil:
			return err
		}
	}
	return nil
}

// end notes the end of a part that came to it without an error.
func (a *account) end(p *part, err error, line workLine) error {
	if err != nil {
		return err
	}
	line.Part, line.End, line.At = p.key, true, a.find.opts.Now().UnixMilli()
	return a.work.add(line)
}

// lookAtModule looks at all records of a module. Those that are made meanwhile have ids
// behind the last one, and are listed at the end.
func (a *account) lookAtModule(ctx context.Context, p *part) error {
	if p.owned == nil {
		owned, err := a.Finder.Owned(ctx, p.object)
		line := workLine{Part: p.key, Owned: make(map[string]int64)}
		if unseen, refused := errors.AsType[*crm.Unseen](err); refused {
			line.Note = "who owns how many is not shown: " + unseen.Error()
		} else if err != nil {
			return err
		}
		for user, n := range owned {
			if a.subjects[foldID(user)] != nil {
				line.Owned[user] = n
			}
		}
		if err := a.work.add(line); err != nil {
			return err
		}
	}
	for range 2 {
		listed := a.Finder.Records(ctx, p.object, p.last)
		if err := a.lookThrough(ctx, p, func(yield func(crm.RecordID, error) bool) {
			for id, err := range listed {
				if !yield(crm.RecordID{Object: p.object, Record: id}, err) {
					return
				}
			}
		}); err != nil {
			return err
		}
	}
	line := workLine{}
	if p.n < p.count { // some may have gone meanwhile
		count, err := a.Finder.Count(ctx, p.object)
		if _, refused := errors.AsType[*crm.Unseen](err); refused {
			count = p.count
		} else if err != nil {
			return err
		}
		line.Short = max(0, count-p.n)
	}
	return a.end(p, nil, line)
}

// lookJob is what one request looks at.
type lookJob struct {
	ids     []crm.RecordID
	looks   []crm.Look
	at      time.Time
	stopped bool // before all of it was seen
}

// lookThrough looks at a stream of records, several at a time.
func (a *account) lookThrough(ctx context.Context, p *part, ids iter.Seq2[crm.RecordID, error]) error {
	most := max(1, a.sight.Looks)
	jobs := func(yield func(*lookJob, error) bool) {
		job := &lookJob{}
		for id, err := range ids {
			if err != nil {
				if len(job.ids) == 0 || yield(job, nil) {
					yield(nil, err)
				}
				return
			}
			if job.ids = append(job.ids, id); len(job.ids) == most {
				if !yield(job, nil) {
					return
				}
				job = &lookJob{}
			}
		}
		if len(job.ids) > 0 {
			yield(job, nil)
		}
	}
	return inOrder(ctx, a.Workers, jobs, func(ctx context.Context, job *lookJob) {
		job.looks = a.Finder.Look(ctx, job.ids)
		job.at = a.find.opts.Now()
		job.stopped = ctx.Err() != nil
	}, func(jobs []*lookJob) error { return a.commit(ctx, p, jobs) })
}

// commit writes down what was seen of records, up to the first that was not looked at.
func (a *account) commit(ctx context.Context, p *part, jobs []*lookJob) (err error) {
	line := workLine{Part: p.key, Why: make(map[string]int64)}
	for _, job := range jobs {
		if err = job.add(ctx, a, &line); err != nil {
			break
		}
	}
	if line.N > 0 {
		if failed := a.work.add(line); failed != nil {
			return failed
		}
		a.find.looked.Add(line.N)
	}
	return err
}

// add adds what was seen to a line of the work file, all of it or nothing. The error is why
// nothing more can be seen.
func (job *lookJob) add(ctx context.Context, a *account, line *workLine) error {
	if len(job.looks) != len(job.ids) {
		return fmt.Errorf("account %q: %d answers about %d records", a.Name, len(job.looks), len(job.ids))
	}
	for _, look := range job.looks {
		if look.Ended != nil {
			return look.Ended
		}
		if job.stopped && !look.State.Looked && !look.Gone {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return context.Canceled
		}
	}
	for i, look := range job.looks {
		id := job.ids[i]
		line.N++
		line.Last, line.At = id.Record, job.at.UnixMilli()
		switch {
		case look.Gone:
			line.Gone++
		case look.State.Looked && look.Refused == nil:
			line.Looked++
			if some := a.relevant(look.State.Grants); len(some) > 0 {
				line.Seen = append(line.Seen, sighting{Object: id.Object, Record: id.Record, At: line.At, Grants: some})
			}
		default:
			line.Refused++
			why := "no answer says who has it"
			if look.Refused != nil {
				why = look.Refused.Error()
			}
			line.Why[crm.Shown(why)]++
			continue
		}
		if a.ledgers.by[id] {
			line.Checked = append(line.Checked, id)
		}
	}
	return nil
}

// memberJob is one person's groups.
type memberJob struct {
	user    string
	groups  []crm.Membership
	err     error
	at      time.Time
	stopped bool
}

// askGroups asks for the groups of everybody who is asked about, and of their successors
// where rows can put them into groups.
func (a *account) askGroups(ctx context.Context, p *part) error {
	people := func(yield func(*memberJob, error) bool) {
		for _, user := range a.members() {
			if _, known := p.members[foldID(user)]; !known && !yield(&memberJob{user: user}, nil) {
				return
			}
		}
	}
	err := inOrder(ctx, a.Workers, people, func(ctx context.Context, job *memberJob) {
		job.groups, job.err = a.Finder.Memberships(ctx, job.user)
		job.at, job.stopped = a.find.opts.Now(), ctx.Err() != nil
	}, func(jobs []*memberJob) (err error) {
		line := workLine{Part: p.key, Why: make(map[string]int64)}
		for _, job := range jobs {
			m := memberLine{User: job.user, Groups: job.groups}
			if unseen, refused := errors.AsType[*crm.Unseen](job.err); refused && !job.stopped {
				m.Refused = unseen.Error()
			} else if job.err != nil {
				if err = job.err; job.stopped && ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				break
			}
			line.N++
			line.At = job.at.UnixMilli()
			if m.Refused != "" {
				line.Refused++
				line.Why[crm.Shown(m.Refused)]++
			} else {
				line.Looked++
			}
			line.Members = append(line.Members, m)
		}
		if line.N > 0 {
			if failed := a.work.add(line); failed != nil {
				return failed
			}
			a.find.looked.Add(line.N)
		}
		return err
	})
	if err = a.end(p, err, workLine{}); err == nil {
		a.meet(p)
	}
	return err
}

// members returns the ids of those whose groups are asked for, in a fixed order.
func (a *account) members() (ids []string) {
	for _, who := range a.subjects {
		ids = append(ids, who.user.ID)
		if a.sight.GroupObject != "" && who.successor != "" {
			ids = append(ids, who.successor)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// meet has the world know who is in which group.
func (a *account) meet(p *part) {
	a.groups, a.names = make(map[string][]*subject), make(map[string]string)
	for id, who := range a.subjects {
		for _, g := range p.members[id].groups {
			a.groups[g.ID], a.names[g.ID] = append(a.groups[g.ID], who), g.Name
		}
	}
}

// foldID makes user ids comparable.
func foldID(id string) string { return strings.ToLower(id) }
