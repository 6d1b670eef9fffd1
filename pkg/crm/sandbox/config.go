package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Config says how a server behaves. The zero value is an account that answers at
// once, processes at once, takes any keys and lets 25 calls into 5 s.
type Config struct {
	// Limit calls may arrive in Window, for the organisation as a whole. Zero values
	// stand for 25 and 5 s; a negative Limit stands for no limit.
	Limit  int
	Window time.Duration
	// Fixed makes the windows follow one another on multiples of Window since the
	// epoch. Without it the window slides. Which of them the vendor has is unknown.
	Fixed bool
	// Refusal is how a call over the limit is refused. Where several forms are named
	// they take turns. Zero stands for Refuse429.
	Refusal Refusal
	// RetryAfter is the header's value on a refusal; empty for no header, which is
	// what the vendor does.
	RetryAfter string

	// Latency is how long a reply takes, asked once for each; nil for none.
	Latency func() time.Duration
	// Processing is the time from the acceptance of a change to its effect, asked
	// once for each; nil for none.
	Processing func() time.Duration

	// AccessKey and SecretKey are the keys that are right. Empty ones make every
	// pair of non-empty keys right.
	AccessKey, SecretKey string
	// NotAdmin makes the owner of the keys a sales user, who may not share or revoke.
	NotAdmin bool
	// Owner is whose keys they are. The zero value stands for an active user
	// admin@sandbox.example with a fixed id. Keys of a user who is not active are
	// dead; AddUser can deactivate the owner later.
	Owner crm.User
	// Org is the organisation's id; empty for a fixed one.
	Org string
	// Host is the API host that the organisation is said to live on. Empty stands
	// for the host that a request names. A call that names another host than this one
	// is refused with 401, except the question whose keys they are.
	Host string

	// Closed makes only the users and records exist that were seeded or added; others
	// are refused. Without it everything that is well-formed exists.
	Closed bool
	// MaxEntries is the longest array that Share and Revoke take; 0 stands for 25.
	// The vendor's own maximum is unknown.
	MaxEntries int
	// MaxGroupUsers is how many users AddUsers and RemoveUsers take; 0 stands for 25.
	// The vendor's own maximum is unknown.
	MaxGroupUsers int
	// KeepPermissions makes AddUsers leave the permissions of somebody who is in the
	// group already. Without it they become those of the request. Which of them the
	// vendor does is unknown.
	KeepPermissions bool
	// ShowAllPermissions makes RetrieveUsers show the two permissions that are missing
	// from the vendor's example.
	ShowAllPermissions bool
	// RefuseAbsent makes a revoke of what is not shared an exception. Without it such
	// a revoke is accepted and ends in success. Which of them the vendor does is
	// unknown.
	RefuseAbsent bool
	// RevokeExact makes a revoke take away only a share of its own access type. Which
	// of them the vendor does is unknown.
	RevokeExact bool
	// ErrorStatus carries exceptions about what a request says; 0 stands for 500.
	// Some accounts are said to send 200.
	ErrorStatus int
	// Pending are the ShareStatus codes that a request goes through, an equal part of
	// its processing time each; none stands for 1, 3. Success is the code after them;
	// 0 stands for 6, the only one that the vendor documents. A request that failed
	// in processing has 7.
	Pending []int
	Success int

	// Zoho is how the Zoho half behaves.
	Zoho ZohoConfig

	// Journal is a file to which the world is written as it changes, and from which
	// it is read at the start, so that request Ids and shares outlive a restart. Empty
	// for none. One server at a time may have it open.
	Journal string
	// Now is the clock of the window and of processing; nil for time.Now. Latency and
	// delays always pass in real time (or that of a synctest bubble).
	Now func() time.Time
}

// Refusal is a set of the forms in which a call over the limit is refused. All
// have the vendor's exception as their body.
type Refusal uint8

// The forms: the documented status, and the two that were seen in the field.
const (
	Refuse429 Refusal = 1 << iota
	Refuse200
	Refuse403
)

// members returns the forms of a set, in the order of their constants.
func members[T ~uint8](set T) (forms []T) {
	for form := T(1); form != 0; form <<= 1 {
		if set&form != 0 {
			forms = append(forms, form)
		}
	}
	return forms
}

// The identities that a server has if none are configured.
const (
	defaultOwnerID     = "5a0d0b0c-0000-4000-8000-000000000001"
	defaultOwnerEmail  = "admin@sandbox.example"
	defaultOrg         = "50001"
	defaultZohoOwnerID = "5000000000000000001"
	defaultZohoOrg     = "60012345678"
)

// withDefaults returns c with every zero value replaced by what it stands for.
func (c Config) withDefaults() (Config, error) {
	if c.Window < 0 {
		return c, fmt.Errorf("window %v is negative", c.Window)
	}
	if c.MaxEntries < 0 {
		return c, fmt.Errorf("longest array %d is negative", c.MaxEntries)
	}
	if c.Refusal >= Refuse403<<1 {
		return c, fmt.Errorf("unknown form of refusal %#x", uint8(c.Refusal))
	}
	if c.Owner == (crm.User{}) {
		c.Owner = crm.User{ID: defaultOwnerID, Email: defaultOwnerEmail, Active: true}
	}
	if len(c.Pending) == 0 {
		c.Pending = []int{1, 3}
	}
	none := func() time.Duration { return 0 }
	if c.Latency == nil {
		c.Latency = none
	}
	if c.Processing == nil {
		c.Processing = none
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Limit = cmp.Or(c.Limit, 25)
	c.Window = cmp.Or(c.Window, 5*time.Second)
	c.Refusal = cmp.Or(c.Refusal, Refuse429)
	c.Org = cmp.Or(c.Org, defaultOrg)
	c.MaxEntries = cmp.Or(c.MaxEntries, 25)
	c.MaxGroupUsers = cmp.Or(c.MaxGroupUsers, 25)
	c.ErrorStatus = cmp.Or(c.ErrorStatus, http.StatusInternalServerError)
	c.Success = cmp.Or(c.Success, 6)
	c.Zoho = c.Zoho.withDefaults(c.Processing)
	return c, nil
}
