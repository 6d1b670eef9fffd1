package sandbox

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// zohoRun is records of a module with ids that follow one another, which cost nothing until
// somebody looks at one.
type zohoRun struct {
	Module string   `json:"module"`
	First  uint64   `json:"first"`
	Count  int      `json:"count"`
	Owners []string `json:"owners,omitempty"` // take turns; empty for the owner of the token
}

// has says whether an id is one of the run's.
func (r zohoRun) has(id uint64) bool { return id >= r.First && id-r.First < uint64(r.Count) }

// zohoListing is the ids of a module's records, as queries list them.
type zohoListing struct {
	runs []zohoRun
	ids  []uint64 // of all records, rising; made when somebody asks
	long []string // those that are beyond a uint64, rising
	made bool
}

// listing returns what queries list of a module.
func (z *zoho) listing(module string) *zohoListing {
	l, ok := z.listings[module]
	if !ok {
		l = &zohoListing{}
		z.listings[module] = l
	}
	return l
}

// numeric reads an id that has one spelling; long says that it is beyond a uint64.
func numeric(id string) (n uint64, long, ok bool) {
	if !zohoID.MatchString(id) || id[0] == '0' {
		return 0, false, false
	}
	n, err := strconv.ParseUint(id, 10, 64)
	return n, err != nil, true
}

// existsRecord says whether a record was seeded or written, and has not vanished.
func (z *zoho) existsRecord(module, record string) bool {
	key := module + "/" + record
	if z.vanished[key] {
		return false
	}
	if rec, ok := z.records[key]; ok && rec.known {
		return true
	}
	n, long, ok := numeric(record)
	return ok && !long && slices.ContainsFunc(z.listing(module).runs, func(r zohoRun) bool { return r.has(n) })
}

// list makes the ids of a module, unless they are there.
func (z *zoho) list(module string) *zohoListing {
	l := z.listing(module)
	if l.made {
		return l
	}
	l.ids, l.long, l.made = nil, nil, true
	for _, r := range l.runs {
		for i := range uint64(r.Count) {
			l.ids = append(l.ids, r.First+i)
		}
	}
	for key, rec := range z.records {
		record, ok := strings.CutPrefix(key, module+"/")
		if !ok || !rec.known {
			continue
		}
		switch n, long, ok := numeric(record); {
		case long:
			l.long = append(l.long, record)
		case ok:
			l.ids = append(l.ids, n)
		}
	}
	slices.Sort(l.ids)
	l.ids = slices.DeleteFunc(slices.Compact(l.ids), func(id uint64) bool {
		return len(z.vanished) > 0 && z.vanished[module+"/"+strconv.FormatUint(id, 10)]
	})
	l.long = slices.DeleteFunc(l.long, func(id string) bool { return z.vanished[module+"/"+id] })
	slices.SortFunc(l.long, compareIDs)
	return l
}

// compareIDs compares ids as numbers.
func compareIDs(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }

// page returns up to most ids behind after, rising, and whether there are more.
func (l *zohoListing) page(after string, most int) (ids []string, more bool) {
	at := 0
	n, long, ok := numeric(after)
	switch {
	case long:
		at = len(l.ids)
	case ok:
		var found bool
		if at, found = slices.BinarySearch(l.ids, n); found {
			at++
		}
	}
	for ; at < len(l.ids) && len(ids) < most; at++ {
		ids = append(ids, strconv.FormatUint(l.ids[at], 10))
	}
	more = at < len(l.ids)
	for _, id := range l.long {
		if long && compareIDs(id, after) <= 0 {
			continue
		}
		if more = more || len(ids) == most; more {
			break
		}
		ids = append(ids, id)
	}
	return ids, more
}

// ownerOf returns who owns a record.
func (z *zoho) ownerOf(module, record string) string {
	if rec, ok := z.records[module+"/"+record]; ok && rec.owner != "" {
		return rec.owner
	}
	if n, long, ok := numeric(record); ok && !long {
		for _, r := range z.listing(module).runs {
			if r.has(n) && len(r.Owners) > 0 {
				return r.Owners[(n-r.First)%uint64(len(r.Owners))]
			}
		}
	}
	return z.cfg.Owner.ID
}

// owned counts the records of a module by owners.
func (z *zoho) owned(module string) map[string]int {
	count := map[string]int{}
	l := z.list(module)
	for _, id := range l.ids {
		count[z.ownerOf(module, strconv.FormatUint(id, 10))]++
	}
	for _, id := range l.long {
		count[z.ownerOf(module, id)]++
	}
	return count
}

// run makes the records of a run exist.
func (z *zoho) run(r *zohoRun) {
	z.modules[r.Module] = true
	owned := *r
	owned.Owners = slices.Clone(r.Owners)
	for i, owner := range owned.Owners {
		owned.Owners[i], _ = z.people.named(owner)
	}
	l := z.listing(r.Module)
	l.runs, l.made = append(l.runs, owned), false
}

// own makes somebody the owner of a record, which exists from then on.
func (z *zoho) own(o *zohoOwner) {
	z.modules[o.Module] = true
	rec := z.record(o.Module + "/" + o.Record)
	rec.known = true
	rec.owner, _ = z.people.named(o.Owner)
	z.appears(o.Module, o.Record)
}

// appears notes that a record exists, again if it was gone.
func (z *zoho) appears(module, record string) {
	delete(z.vanished, module+"/"+record)
	z.listing(module).made = false
}

// zohoOwner is a record with its owner, zohoGone are records of a module that are gone.
type zohoOwner struct {
	Module string `json:"module"`
	Record string `json:"record"`
	Owner  string `json:"owner"`
}

type zohoGone struct {
	Module  string   `json:"module"`
	Records []string `json:"record_ids"`
}

// vanish takes records out of the world.
func (z *zoho) vanish(g *zohoGone) {
	for _, record := range g.Records {
		delete(z.records, g.Module+"/"+record)
		z.vanished[g.Module+"/"+record] = true
	}
	z.listing(g.Module).made = false
}

// moduleNames returns the modules that the organisation has, in a fixed order.
func (z *zoho) moduleNames() []string {
	names := slices.Clone(zohoModules)
	names = append(names, zohoNotShared[:3]...)
	own := map[string]bool{}
	for name := range z.modules {
		own[name] = true
	}
	for _, name := range names {
		delete(own, name)
	}
	return append(names, slices.Sorted(maps.Keys(own))...)
}
