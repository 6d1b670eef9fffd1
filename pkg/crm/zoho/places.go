package zoho

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// mostWitnesses is how many bundles have to show their answers in the order of their looks
// before the order is relied on. A CRM that answers five looks in any order would do so by
// chance once in 15,000 times.
const mostWitnesses = 6

// places is what is known of the order of the answers to composite requests. The CRM does
// not document it, but lists show it: many name the record that they are of. Without it
// each bundle in which some records are shared, and some are not, would be worth little. A
// nil one relies on nothing.
type places struct {
	mu        sync.Mutex // guards what follows
	witnesses int        // bundles with a list in its place
	astray    bool       // a list was in another's place, once
}

// wrong notes that an answer was not in its place.
func (p *places) wrong() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.astray = true
}

// right takes in the answers of a bundle, in which none was seen to be out of place, and says
// whether the order can be relied on, for this one too.
func (p *places) right(parts []*transport.Response, looks []wanted) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, part := range parts {
		// The one in the middle is in its place also where the order is the reverse.
		if part != nil && 2*i != len(parts)-1 && namesItself(part.Body, looks[i].record) && unique(looks, i) {
			p.witnesses++
			break
		}
	}
	return p.witnesses >= mostWitnesses && !p.astray
}

// unique says whether no other look of a bundle is at a record with the id of the nth.
func unique(looks []wanted, n int) bool {
	return !slices.ContainsFunc(looks, func(l wanted) bool { return l != looks[n] && l.record == looks[n].record }) &&
		slices.Index(looks, looks[n]) == n && !slices.Contains(looks[n+1:], looks[n])
}

// namesItself says whether a list names the record as the one that it is of.
func namesItself(body []byte, record string) bool {
	var got struct {
		Share []struct {
			Through struct {
				ID text `json:"id"`
			} `json:"shared_through"`
		} `json:"share"`
	}
	if json.Unmarshal(body, &got) != nil {
		return false
	}
	for _, e := range got.Share {
		if string(e.Through.ID) == record {
			return true
		}
	}
	return false
}
