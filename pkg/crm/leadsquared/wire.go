package leadsquared

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// The numbers of the fields Entity, EntityType, ContextEntity and AccessType.
const (
	entityLead        = 1
	entityOpportunity = 5
	typeUser          = 3
	contextActivity   = 1
	accessRead        = 1
	accessWrite       = 2
)

// entry is one element of the array that Share and Revoke take. EntityID is a
// string for leads too, although their numbers are digits.
type entry struct {
	UserID            string `json:"UserId"`
	Entity            int    `json:"Entity"`
	EntityType        int    `json:"EntityType"`
	EntityID          string `json:"EntityId"`
	ContextEntity     int    `json:"ContextEntity,omitzero"`
	ContextEntityID   string `json:"ContextEntityId,omitzero"`
	AccessType        int    `json:"AccessType"`
	DurationInMinutes int    `json:"DurationInMinutes,omitzero"`
}

// newEntry is the entry of an operation that Check has passed.
func newEntry(op crm.Operation) entry {
	e := entry{UserID: op.User, Entity: entityLead, EntityType: typeUser, EntityID: op.Record, AccessType: accessRead, DurationInMinutes: op.Minutes}
	if op.Access == crm.Write {
		e.AccessType = accessWrite
	}
	if op.Object == crm.Opportunity {
		e.Entity = entityOpportunity
		return e
	}
	e.ContextEntity, e.ContextEntityID = contextActivity, op.Context
	return e
}

// reply is the superset of what the services answer with. Every field takes any
// JSON value, so that one odd field does not hide the others; names are matched
// without regard to case.
type reply struct {
	Status           text
	ExceptionType    text
	ExceptionMessage text
	Message          message
	Response         message // of sales groups
	ShareStatus      text    // of a status call, beside Message
	ErrorMessage     text    // likewise; null where nothing is wrong
}

// What takes any JSON value.
type (
	text = transport.Text
	once = transport.Once
)

// message is the field Message, an object in a success and a text in some errors, or the
// field Response.
type message struct {
	ID           text
	RequestID    text
	ResponseText text
	Text         text `json:"-"`
}

// UnmarshalJSON accepts every value.
func (m *message) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(b, []byte("{")) {
		return m.Text.UnmarshalJSON(b)
	}
	type plain message
	return json.Unmarshal(b, (*plain)(m))
}

// succeeded says whether the body itself speaks of success.
func (p *reply) succeeded() bool {
	return strings.EqualFold(string(p.Status), "success") && p.ExceptionType == "" && p.ExceptionMessage == ""
}

// id is the Id that only an accepted change has.
func (p *reply) id() string { return cmp.Or(idText(p.Message.ID), idText(p.Response.RequestID)) }

// contradicts says whether one part of the answer to a change says that it was accepted,
// with the word or by an Id, and another that it was not.
func (p *reply) contradicts(status int) bool {
	queued := strings.EqualFold(string(p.Status), "success") || p.id() != ""
	return queued && (status < 200 || status >= 400 || p.ExceptionType != "" || p.ExceptionMessage != "" || p.failed())
}

// failed says whether the body itself speaks of failure. Any other word for the
// status is neither.
func (p *reply) failed() bool {
	switch strings.ToLower(string(p.Status)) {
	case "error", "failure", "failed":
		return true
	}
	return p.ExceptionType != ""
}

// complains says whether the reply speaks of anything but success, whatever else is
// in it: a list beside an error is no list.
func (p *reply) complains() bool {
	return p.ExceptionType != "" || p.ExceptionMessage != "" || p.ErrorMessage != "" || p.Status != "" && !p.succeeded()
}

// says is the text of an error reply, wherever the service has put it.
func (p *reply) says() string {
	return string(cmp.Or(p.ExceptionMessage, p.Message.Text, p.Message.ResponseText, p.ErrorMessage))
}

// words are the reply's own, for messages about one that contradicts itself.
func (p *reply) words() string {
	words := transport.Quoted([2]string{"Status", string(p.Status)}, [2]string{"ExceptionType", string(p.ExceptionType)}, [2]string{"message", p.says()})
	if p.id() == "" {
		return words
	}
	return strings.TrimPrefix(words+", and a request Id", ", ")
}

// idText returns an Id as it came. An Id is a short text or number; anything else
// is none.
func idText(t text) string {
	s := string(t)
	if s == "" || len(s) > 256 || strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") ||
		s == "true" || s == "false" ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\ufffd' }) {
		return ""
	}
	return s
}

// readList reads a list that comes with its own count into entries, or says why it
// can not be relied on. A list without people is believed only with a count of
// nought: what is missing looks the same. An entry that is there twice may stand where
// another should.
func readList[E any](list once, count text, entries *[]E) (why string) {
	n, err := strconv.Atoi(string(count))
	switch {
	case !list.Absent() && json.Unmarshal(list, entries) != nil:
		return "it is not readable"
	case count != "" && (err != nil || n < 0):
		return "its count is not readable"
	case list.Absent() && (count == "" || n != 0):
		return "it is missing"
	case count != "" && n > len(*entries):
		return "it is shorter than its own count"
	case count != "" && n < len(*entries):
		return "it is longer than its own count"
	case count == "" && len(*entries) == 0:
		return "it is empty and comes without its count"
	}
	return ""
}
