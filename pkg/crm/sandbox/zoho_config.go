package sandbox

import (
	"cmp"
	"net/http"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// ZohoConfig says how the Zoho half of a server behaves. The zero value is an
// Enterprise organisation that takes any client, processes as Config.Processing
// says and answers as the newest published specification does.
type ZohoConfig struct {
	// ClientID, ClientSecret and RefreshToken are what the token endpoint takes.
	// Empty ones make every non-empty value right.
	ClientID, ClientSecret, RefreshToken string
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
	// TokenLimit new tokens are given to one refresh token in 10 minutes; 0 stands for
	// 10, a negative one for no limit. The refusal is a body with TokenThrottleStatus;
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
	// PageSize is the longest page of users; 0 stands for 200.
	PageSize int
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
