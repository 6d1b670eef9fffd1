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
	// ClockAhead is how far the clock in the Date header of answers is ahead of Now, and
	// NoDate leaves the header out.
	ClockAhead time.Duration
	NoDate     bool
	// Now is the clock of the window and of processing; nil for time.Now. Latency and
	// delays always pass in real time (or that of a synctest bubble).
	Now func() time.Time
}

// ZohoConfig says how the Zoho half of a server behaves. The zero value is an
// Enterprise organisation that takes any client, processes as Config.Processing
// says and answers as the newest published specification does.
type ZohoConfig struct {
	// ClientID, ClientSecret and RefreshToken are what the token endpoint takes.
	// Empty ones make every non-empty value right.
	ClientID, ClientSecret, RefreshToken string
	// GrantToken is the one that a refresh token is given for. Empty makes every non-empty
	// value right. Each is good once.
	GrantToken string
	// Owner is who authorised the client. The zero value stands for an active user
	// admin@sandbox.example with a fixed id. Tokens die while the user is not active.
	Owner crm.User
	// Org is the organisation's id; empty for a fixed one.
	Org string
	// APIDomain is what token replies name; empty for the base URL that the token
	// request came to.
	APIDomain string
	// TokenLife is how long an access token lives; 0 stands for an hour. TokenCalls,
	// if positive, is how many calls it is good for.
	TokenLife  time.Duration
	TokenCalls int
	// TokenLimit new tokens are given to one refresh token in 10 minutes, and as many
	// refresh tokens to the client; 0 stands for 10, a negative one for no limit. The refusal is a body with TokenThrottleStatus;
	// 0 stands for 200, and 400 was seen too.
	TokenLimit          int
	TokenThrottleStatus int
	// LiveTokens is how many access tokens of one refresh token live at once, the
	// oldest dying first; 0 stands for 10.
	LiveTokens int
	// LegacyExpiry gives a token's life in milliseconds, and in expires_in_sec in
	// seconds.
	LegacyExpiry bool

	// Concurrency is how many calls may be in flight; 0 stands for 20, a negative one
	// for no limit. A composite call counts five times.
	Concurrency int
	// Credits is how many calls may be made in 24 hours; 0 for no limit.
	Credits int
	// Throttle is how a call over either limit is refused. Where several forms are
	// named they take turns. Zero stands for ThrottleJSON.
	Throttle ZohoThrottle

	// Processing is the time from the acceptance of a write to its effect, during
	// which the record is busy; nil for that of Config.
	Processing func() time.Duration
	// BusyStatus is that of a write to a busy record: 400 or 403; 0 stands for 400.
	// BusyReads makes a busy record refuse to be read too; without it a read shows
	// the list as it was.
	BusyStatus int
	BusyReads  bool
	// SuccessStatus is that of a write whose entries all succeed: 201 or 200; 0
	// stands for 201.
	SuccessStatus int
	// NothingCode is the code of a DELETE with nothing to revoke: "CANNOT_PROCESS" or
	// "BAD_REQUEST"; empty stands for the first.
	NothingCode string
	// EmptyList answers a read of a record without shares with 200 and an empty list
	// instead of 204.
	EmptyList bool
	// AmbiguousVisible tells of somebody who has the record already in the words that
	// also stand for somebody who may not have it.
	AmbiguousVisible bool
	// LimitPerEntry refuses the entries over 10 users, 5 groups or 5 roles one by one
	// instead of the whole request.
	LimitPerEntry bool
	// Partial is what a PUT does of which some entries fail.
	Partial PartialPut
	// KeepInactive lets a PUT write back a user who has the record and is not active
	// any more. Without it that entry fails.
	KeepInactive bool
	// LegacyNotify makes PUT heed "notify", true by default, instead of
	// "notify_on_completion" and "notify_shared_members".
	LegacyNotify bool
	// Feeds allows members to be notified; without it asking for that is refused.
	Feeds bool
	// StrictKeys refuses keys in a body that the version does not know.
	StrictKeys bool
	// Backwards answers the parts of a composite call in no order that anybody asked
	// for: the last first.
	Backwards bool
	// SubRequestIDs answers the parts of a composite call with the sub_request_id of each,
	// which the vendor's samples do not show.
	SubRequestIDs bool
	// PageSize is the longest page of users and of groups; 0 stands for 200.
	PageSize int
	// Lacks are scopes that the token does not have, of those for users, the organisation,
	// composite calls, queries and settings, such as "ZohoCRM.coql.READ". Shares of single
	// modules are closed by ZohoModule.NoShares.
	Lacks []string
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

// PartialPut is the fate of those whom a PUT with failing entries is about, which
// the vendor does not document.
type PartialPut uint8

const (
	// PartialDrop: the entries that succeed are the new list. Whoever stands in an
	// entry that failed loses the record.
	PartialDrop PartialPut = iota
	// PartialKeep: whoever stands in an entry that failed keeps what he had; those
	// who are not listed lose the record.
	PartialKeep
	// PartialNobody: nobody loses the record.
	PartialNobody
)

// ZohoThrottle is a set of the forms in which a call over a limit is refused, all
// with status 429.
type ZohoThrottle uint8

// The forms: the vendor's envelope with the cause in its message, the same with a
// message that names no cause, a number as the code, the code as "error", and a
// page that is no JSON.
const (
	ThrottleJSON ZohoThrottle = 1 << iota
	ThrottleVague
	ThrottleNumber
	ThrottleError
	ThrottlePage
)

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

// withDefaults returns c with every zero value replaced by what it stands for.
// processing is that of the configuration that it is a part of.
func (c ZohoConfig) withDefaults(processing func() time.Duration) ZohoConfig {
	if c.Owner == (crm.User{}) {
		c.Owner = crm.User{ID: defaultZohoOwnerID, Email: defaultOwnerEmail, Active: true}
	}
	if c.Processing == nil {
		c.Processing = processing
	}
	c.Org = cmp.Or(c.Org, defaultZohoOrg)
	c.TokenLife = cmp.Or(c.TokenLife, time.Hour)
	c.TokenLimit = cmp.Or(c.TokenLimit, 10)
	c.TokenThrottleStatus = cmp.Or(c.TokenThrottleStatus, http.StatusOK)
	c.LiveTokens = cmp.Or(c.LiveTokens, 10)
	c.Throttle = cmp.Or(c.Throttle, ThrottleJSON)
	c.Concurrency = cmp.Or(c.Concurrency, 20)
	c.BusyStatus = cmp.Or(c.BusyStatus, http.StatusBadRequest)
	c.SuccessStatus = cmp.Or(c.SuccessStatus, http.StatusCreated)
	c.NothingCode = cmp.Or(c.NothingCode, "CANNOT_PROCESS")
	c.PageSize = cmp.Or(c.PageSize, 200)
	return c
}
