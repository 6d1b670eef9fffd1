package crm

// The codes that a provider gives a row where the CRM has none. They stand in result
// files and in ledgers, to the letter.
const (
	CodeInvalid           = "invalid"            // the operation can not be sent as it is
	CodeError             = "error"              // an error of the CRM's that has no code
	CodeNoAnswer          = "no_answer"          // no answer says what was done
	CodeNotYet            = "not_yet"            // accepted, and not to be seen so far
	CodeInherited         = "inherited"          // the user has the record through a parent of it
	CodePublic            = "public"             // everybody has the record
	CodeProtected         = "protected"          // revoke_all over somebody who must keep the record
	CodeUnreadable        = "unreadable"         // an entry of the list can not be written back exactly
	CodeNeedsV8           = "needs_v8"           // the API version would lose groups and roles
	CodeBystanderLost     = "stayer_lost"        // a bystander lost access and was not given it back
	CodeBystanderRefused  = "stayer_refused"     // the CRM refused to write a bystander back
	CodeUnknownGroup      = "unknown_group"      // no sales group has the id
	CodeTicket            = "ticket"             // the ticket can not be asked about
	CodeStillMember       = "still_member"       // of a sales group that the user was to leave
	CodeNotMember         = "not_member"         // of a sales group that the user was to be in
	CodePermissionsDiffer = "permissions_differ" // a member of the group, with other permissions
	CodeStatusMissing     = "status_missing"     // the answer about a request has no status
	CodeStatusUnreadable  = "status_unreadable"  // its status is no number
	CodeStatus            = "status_"            // and a status of a request, as a number
	CodeHTTP              = "http_"              // and the HTTP status of a refusal that has no code
)

// The kinds of a Grant.
const (
	KindUser   = "user"
	KindGroup  = "group"
	KindRole   = "role"
	KindPublic = "public" // everybody
)
