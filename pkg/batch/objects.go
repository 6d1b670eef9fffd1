package batch

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// objects is what the whole sheet tells of the objects in it.
type objects struct {
	named map[string]bool // the objects of good rows that name their account; at most namedKept
	notes []string        // how words of another CRM were read, each once; at most notesKept
}

// Bounds of what is remembered of a sheet's objects: an organisation has a few hundred
// modules. A sheet that names more has rows that must name their accounts.
const (
	namedKept = 10_000
	notesKept = 20
)

// objectMark is the mark of the rows whose object may be a slip.
const objectMark = "object "

// doubt says why the object that chooses the row's account may be a slip; "" if it
// does not choose it, or is none.
func (b *Batch) doubt(f sheet.Fields) (reason string, sure bool) {
	if f.Account != "" || b.opts.Default != "" || b.opts.Words.Doubt == nil || f.Object == "" {
		return "", false
	}
	return b.opts.Words.Doubt(f.Object)
}

// seeObject remembers what a good row tells of its object for the others, and returns
// a mark if the others have to speak for it.
func (b *Batch) seeObject(r Row, f sheet.Fields) []ledger.Mark {
	if r.Code != "" {
		return nil
	}
	if foreign := b.opts.Words.Foreign; foreign != nil {
		if _, note := foreign(r.Account, f.Object); note != "" && len(b.objects.notes) < notesKept && !slices.Contains(b.objects.notes, note) {
			b.objects.notes = append(b.objects.notes, note)
		}
	}
	if f.Account != "" {
		if b.objects.named == nil {
			b.objects.named = make(map[string]bool)
		}
		if len(b.objects.named) < namedKept {
			b.objects.named[r.Op.Object] = true
		}
		return nil
	}
	if reason, _ := b.doubt(f); reason == "" {
		return nil
	}
	return []ledger.Mark{{Name: objectMark + r.Op.Object, Column: "object", Value: crm.Shown(f.Object)}}
}

// rejectObjects makes the rows invalid whose account was chosen by a word that no
// CRM and no other row knows.
func (b *Batch) rejectObjects(ctx context.Context) error {
	for mark, err := range b.importing.Marks(ctx) {
		if err != nil {
			return err
		}
		object, ok := strings.CutPrefix(mark, objectMark)
		if !ok || b.objects.named[object] {
			continue
		}
		reason, _ := b.opts.Words.Doubt(object)
		if err := b.reject(ctx, mark, crm.CodeInvalid, reason); err != nil {
			return err
		}
	}
	return nil
}

// misread returns the error of a row that its provider refused, as what it comes from
// where the object is a word of another CRM, or of none.
func (b *Batch) misread(acc *account, object, doubt string, err error) error {
	field, ok := errors.AsType[*crm.FieldError](err)
	if !ok {
		return err
	}
	reason := ""
	switch {
	case doubt != "" && field.Column == "object":
		reason = doubt
	case doubt == "" && b.opts.Words.Foreign != nil:
		reason, _ = b.opts.Words.Foreign(acc.Name, object)
	}
	if reason == "" {
		return err
	}
	if field.Column != "object" {
		reason += ". Or, if it was meant as it was read: " + field.Error()
	}
	return &crm.FieldError{Column: "object", Reason: crm.Quote(object) + " " + reason}
}
