package crm

// The codes that a row has where the CRM has none. They stand in result files and in
// ledgers, to the letter. These a provider gives.
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

// The codes of rows that are not sent: CodeInvalid, where a cell is wrong by itself, and
// these.
const (
	CodeUnknownAccount    = "unknown_account"    // no account of that name
	CodeUnknownUser       = "unknown_user"       // nobody has that address, or that user id
	CodeAmbiguousAddress  = "ambiguous_address"  // several people have it
	CodeReassignedAddress = "reassigned_address" // it is somebody else's than when the ledger first saw it
	CodeRoundedID         = "rounded_id"         // the whole sheet shows that a spreadsheet has rounded its ids
	CodeUserMismatch      = "user_mismatch"      // the id and the address beside it are not one user's
	CodeHeldUp            = "held_up"            // it waits for an earlier row of its target
	CodeUndecided         = "undecided"          // its action is empty: somebody has still to decide
	CodeKeptAndChanged    = "kept_and_changed"   // one row keeps what another changes
	CodeRequired          = "required"           // a cell that no row may leave empty is
	CodeSelfReview        = "self_review"        // the reviewer is the user whom the row is about
	CodeNotDue            = "not_due"            // its date, or that of an earlier row of its target, has not come
	CodeClock             = "clock"              // this machine's clock and the CRM's differ, so that dates do not count
	CodeKept              = "kept"               // looked at and decided: nothing is to be done
)

// The codes of a verification's answers.
const (
	CodeSuperseded  = "superseded"    // a later row of the target is what counts
	CodeNeverDone   = "never_done"    // no run has done the row
	CodeNotAsked    = "not_asked"     // the verification stopped before the row
	CodeNoRequestID = "no_request_id" // the CRM can not be asked without one
	CodeInDoubt     = "in_doubt"      // the row, or a later one of its target, may have been done
	CodeGivenBack   = "given_back"    // a revoked access is there again
	CodeTakenAway   = "taken_away"    // a shared access is gone
	CodeDiffers     = "differs"       // the access is there, and not as the row asks for
)

// The kinds of a Grant.
const (
	KindUser   = "user"
	KindGroup  = "group"
	KindRole   = "role"
	KindPublic = "public" // everybody
)
