package crm

import (
	"context"
	"iter"
)

// Finder sees who has what in one account of one CRM, and can change nothing: what it sends
// through takes requests that read. It is safe for concurrent use.
//
// An error is an *AccountError where the account can do no more, an *Unseen where the CRM
// does not show it to this account, or what ended ctx.
type Finder interface {
	// Identify and Users are those of a Provider.
	Identify(ctx context.Context) (Identity, error)
	Users(ctx context.Context, part Part) iter.Seq2[User, error]

	// Sees says what the CRM shows, and at what price.
	Sees() Sight

	// Memberships returns the groups that a person is in.
	Memberships(ctx context.Context, user string) ([]Membership, error)

	// Modules returns the objects whose records can be shared, in a fixed order.
	Modules(ctx context.Context) ([]Module, error)

	// Records streams the ids of an object's records in rising order: those behind after, all
	// for "".
	Records(ctx context.Context, object, after string) iter.Seq2[string, error]

	// Count returns how many records an object has, and Owned how many of them each user
	// owns.
	Count(ctx context.Context, object string) (int64, error)
	Owned(ctx context.Context, object string) (map[string]int64, error)

	// Look shows who has each of the records, at most Sight.Looks of them, with one request:
	// one answer for each, in the same order.
	Look(ctx context.Context, records []RecordID) []Look
}

// Sight is what a CRM shows of who has what. A method that it says no to returns an *Unseen.
type Sight struct {
	// Groups says that Memberships works. GroupObject is the object of rows that take a person
	// out of such a group, "" where no row can.
	Groups      bool
	GroupObject string
	// GroupCalls is what Memberships costs for each group beside its one request.
	GroupCalls int
	// Records says that Look works, and Lists that Modules, Records, Count and Owned do.
	Records, Lists bool
	Looks          int // how many records one request looks at
	IDs            int // how many ids one request lists
	// ListCredits is what such a request takes of the CRM's credits, of which every other one
	// takes 1; 0 where the CRM counts none.
	ListCredits int
	// Never are the kinds of access that the CRM does not show, each as a phrase.
	Never []string
}

// RecordID names a record.
type RecordID struct{ Object, Record string }

// Membership is a group that a person is in.
type Membership struct {
	ID, Name string
	// Permissions are those of the member of a sales group, if PermissionsKnown.
	Permissions      Permissions
	PermissionsKnown bool
}

// Module is an object whose records people share.
type Module struct {
	Name string // as rows name it
	// Public says that everybody sees every record, so that a look shows nothing of
	// interest. Skip, if not empty, says why its records can not be looked at.
	Public bool
	Skip   string
}

// Look is who has a record.
type Look struct {
	State State // what was seen; Looked says whether anything was
	// Gone says that the record is not there any more.
	Gone bool
	// Refused says why it was not seen although it is there; nil where it was. Ended is set
	// where the account can do no more.
	Refused *Unseen
	Ended   *AccountError
}

// Unseen says that the CRM does not show something to this account.
type Unseen struct {
	Code, Message string // the CRM's, or ours
}

func (e *Unseen) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return e.Code + ": " + e.Message
}
