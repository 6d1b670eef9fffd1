package zoho

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// defaultVersion is the API version that the vendor calls current.
const defaultVersion = "v8"

// lookVersion is the version of all looks under an older setting: the older
// versions do not show groups and roles, and of v4 nothing is known. The versions
// answer side by side.
const lookVersion = "v8"

// versionName is what a version may look like; v1 has no shares.
var versionName = regexp.MustCompile(`^v(?:[2-9]|[1-9][0-9])(?:\.[0-9])?$`)

// dialect is what the setting of the version, and that of the notification keys,
// mean for the requests.
type dialect struct {
	version string
	userKey bool   // the recipient is {"user":{"id"}}; there are users only
	typed   bool   // each entry has a "type"
	notify  string // Config.Notify
}

func newDialect(version, notify string) (dialect, error) {
	d := dialect{version: strings.ToLower(cmp.Or(version, defaultVersion)), notify: notify}
	switch {
	case !versionName.MatchString(d.version):
		return dialect{}, fmt.Errorf("version %q: must be such as v8", d.version)
	case notify != "" && notify != "legacy" && notify != "none":
		return dialect{}, fmt.Errorf("notification keys %q: must be empty, legacy or none", notify)
	}
	d.userKey = d.is("v2") || d.is("v3")
	d.typed = !d.is("v2")
	return d, nil
}

// is says whether the version is that one, or one of its minor ones.
func (d dialect) is(major string) bool { return strings.HasPrefix(d.version+".", major+".") }

// looks is the version in which lists are looked at.
func (d dialect) looks() string {
	if d.userKey || d.is("v4") {
		return lookVersion
	}
	return d.version
}

// writeEntry is an entry as it is sent. The permission is always there: left out,
// it would become full access.
type writeEntry struct {
	SharedWith *recipient `json:"shared_with,omitempty"`
	User       *recipient `json:"user,omitempty"`
	Permission string     `json:"permission"`
	Related    *bool      `json:"share_related_records,omitempty"`
	Type       string     `json:"type,omitempty"`
}

type recipient struct {
	ID   string `json:"id"`
	Type string `json:"type,omitempty"`
}

// writeBody is the body of POST and PUT. The notification keys that are set are
// false: nobody gets mail.
type writeBody struct {
	Share         []writeEntry `json:"share"`
	NotifyMembers *bool        `json:"notify_shared_members,omitempty"`
	NotifyOwner   *bool        `json:"notify_on_completion,omitempty"`
	Notify        *bool        `json:"notify,omitempty"`
}

// body returns the body of a write. The setting of the notification keys is about
// PUT, where the vendor's pages disagree; those of POST are documented since v5.
func (d dialect) body(v verb, entries []entry) []byte {
	b := writeBody{Share: make([]writeEntry, len(entries))}
	for i, e := range entries {
		b.Share[i] = d.entry(e)
	}
	setting := d.notify
	switch {
	case d.userKey && setting == "":
		setting = "legacy"
	case !d.userKey && v == verbPost:
		setting = ""
	}
	switch setting {
	case "":
		b.NotifyMembers, b.NotifyOwner = new(false), new(false)
	case "legacy":
		b.Notify = new(false)
	}
	raw, _ := json.Marshal(b) // texts and flags: it can not fail
	return raw
}

// entry is the write-back form of an entry: the same words, without what only
// describes it.
func (d dialect) entry(e entry) writeEntry {
	w := writeEntry{Permission: e.permission}
	if e.related != crm.Unsaid {
		w.Related = new(e.related == crm.Yes)
	}
	if d.userKey {
		w.User = &recipient{ID: e.id}
	} else {
		w.SharedWith = &recipient{ID: e.id, Type: e.kind}
	}
	if d.typed {
		w.Type = cmp.Or(e.sort, typePrivate) // it has a recipient, which public shares do not
	}
	return w
}
