package ledger

import (
	"encoding/json"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The kinds of events that tell of operations.
const (
	kindIntent  = "intent"
	kindOutcome = "outcome"
	kindConfirm = "confirm"
)

// callEvent is the body of an event of these kinds: a call, or a look at what became of
// it, and its operations.
type callEvent struct {
	Call    string          `json:"call"`
	Attempt int             `json:"attempt,omitempty"`
	Account string          `json:"account"`
	Run     int64           `json:"run,omitempty"`
	Rows    []eventRow      `json:"rows"`
	Before  json.RawMessage `json:"before,omitempty"` // what was seen before the change
}

// eventRow is an operation of an event, with the lines that ask for it, as the sheet was
// then, and, of an outcome, what became of it.
type eventRow struct {
	Lines       []int  `json:"lines"`
	Action      string `json:"action"`
	Object      string `json:"object"`
	Record      string `json:"record"`
	Context     string `json:"context,omitempty"`
	User        string `json:"user,omitempty"`
	Access      string `json:"access,omitempty"`
	Minutes     int    `json:"minutes,omitempty"`
	Related     string `json:"related,omitempty"`
	Permissions string `json:"permissions,omitempty"`
	// Ops are the operations by their ids: "7", or "7-9,12" for equal rows that go
	// together. Versions before 2 did not always name them.
	Ops string `json:"ops,omitempty"`

	Result     string `json:"result,omitempty"`
	Uncertain  bool   `json:"maybe,omitempty"`
	RequestID  string `json:"request_id,omitempty"`
	Code       string `json:"code,omitempty"`
	Message    string `json:"message,omitempty"`
	Note       string `json:"note,omitempty"`
	HTTPStatus int    `json:"http_status,omitempty"`
	Attempts   int    `json:"attempts,omitempty"`
}

// eventRowOf tells of an operation.
func eventRowOf(op crm.Operation) eventRow {
	return eventRow{
		Lines: []int{}, Action: op.Action.String(), Object: op.Object, Record: op.Record, Context: op.Context, User: op.User,
		Access: op.Access.String(), Minutes: op.Minutes, Related: op.Related.String(), Permissions: op.Permissions.String(),
	}
}

// outcome adds what became of the operation.
func (r eventRow) outcome(o Outcome) eventRow {
	r.Result, r.Uncertain, r.RequestID = o.State.String(), o.Uncertain, o.RequestID
	r.Code, r.Message, r.Note, r.HTTPStatus, r.Attempts = o.Code, o.Message, o.Note, o.HTTPStatus, o.Attempts
	return r
}
