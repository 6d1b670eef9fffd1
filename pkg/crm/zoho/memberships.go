package zoho

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// scopeGroups is what reading somebody's groups needs to be allowed.
	scopeGroups = scopeUsers + ", with ZohoCRM.settings.user_groups.READ"
	// mostGroups bounds how many groups one person is in, and mostGroupBytes a page of 200.
	mostGroups     = 10_000
	mostGroupBytes = 4 << 20
)

// Memberships asks for the groups of a user, whether they are in them by themselves or by
// their role or territory: no row can take them out.
func (f *Finder) Memberships(ctx context.Context, user string) ([]crm.Membership, error) {
	if !number.MatchString(user) {
		return nil, &crm.Unseen{Code: crm.CodeInvalid, Message: crm.Quote(user) + " is no Zoho user id"}
	}
	var all []crm.Membership
	known := map[string]bool{}
	for page := 1; ; page++ {
		query := url.Values{"include": {"sources"}}
		if page > 1 {
			query.Set("page", strconv.Itoa(page))
		}
		got, err := f.fetch(ctx, scopeGroups, transport.Request{
			Op: "Groups", Path: "/crm/" + f.dialect.version + "/users/" + user + "/actions/associated_groups", Query: query, MaxBody: mostGroupBytes,
		})
		if err != nil {
			return nil, err
		}
		groups, more, why := readGroups(got.Status, got.body, page)
		for _, g := range groups {
			if known[g.ID] {
				why = "it holds a group twice"
			}
			known[g.ID] = true
			g.Name = f.redact.Clean(g.Name)
			all = append(all, g)
		}
		switch {
		case why != "":
			return nil, unreliable(why)
		case len(all) > mostGroups:
			return nil, unreliable("it lists more than " + strconv.Itoa(mostGroups) + " groups")
		case !more:
			return all, nil
		}
	}
}

// readGroups reads a page of groups, or says why it can not be relied on. It is pure.
func readGroups(status int, body []byte, page int) (groups []crm.Membership, more bool, why string) {
	if nobody(status, body) {
		return nil, false, ""
	}
	var got struct {
		Groups once `json:"user_groups"`
		Info   once `json:"info"`
	}
	var list []struct{ ID, Name text }
	if status != http.StatusOK || json.Unmarshal(body, &got) != nil || got.Groups.Absent() || json.Unmarshal(got.Groups, &list) != nil {
		return nil, false, "it is no list of groups"
	}
	about, whole := readInfo(got.Info)
	switch {
	case !whole || !about.fits(page, len(list)):
		return nil, false, "it is not whole, or another page"
	case len(list) == 0 && (about.more() || about.Count == ""):
		return nil, false, "it is empty, and does not say that nobody follows"
	}
	for _, g := range list {
		if !number.MatchString(string(g.ID)) {
			return nil, false, "it holds a group without an id"
		}
		groups = append(groups, crm.Membership{ID: string(g.ID), Name: string(g.Name)})
	}
	return groups, about.more(), ""
}
