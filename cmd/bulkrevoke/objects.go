package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// kinds are the CRMs that the command knows.
type kinds []kind

// named returns the CRM of that name.
func (ks kinds) named(name string) (kind, bool) {
	i := slices.IndexFunc(ks, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, false
	}
	return ks[i], true
}

// names returns the names of the CRMs.
func (ks kinds) names() []string {
	var names []string
	for _, k := range ks {
		names = append(names, k.name)
	}
	return names
}

// inSandbox returns the CRMs that a sandbox stands in for.
func (ks kinds) inSandbox() kinds {
	return slices.DeleteFunc(slices.Clone(ks), func(k kind) bool { return k.sandbox == nil })
}

// variables returns the names of the environment variables that describe an account of a
// CRM which the sandbox stands in for.
func (k kind) variables() []string {
	_, variables := k.sandbox("http://localhost") // whose values do not matter
	for i, variable := range variables {
		variables[i], _, _ = strings.Cut(variable, "=")
	}
	return variables
}

// help returns what the CRMs show everybody of who has it, and what not, as --help has it.
func (ks kinds) help() (shown, hidden string) {
	var shows, hides []string
	for _, k := range slices.Backward(ks) {
		shows, hides = append(shows, k.shown), append(hides, k.hidden)
	}
	none := func(s string) bool { return s == "" }
	return and(slices.DeleteFunc(shows, none)), and(slices.DeleteFunc(hides, none))
}

// and joins words as in "one, another and a third".
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// route returns the account of a row that names none where the accounts are called after
// their CRMs, by its object: that of the CRM whose word it is, else one where
// organisations have objects of their own.
func (ks kinds) route(object string) string {
	for _, k := range slices.Backward(ks) {
		if _, ok := k.objects.read(object); ok {
			return k.name
		}
	}
	for _, k := range slices.Backward(ks) {
		if k.objects.open {
			return k.name
		}
	}
	return ""
}

// doubt says why an object that chooses its row's account may be a slip of typing: it is
// a word of no CRM, and a slip would go to the wrong one. A word that is nearly one of a
// CRM that has no others is surely one; another may be an organisation's own, if the
// sheet shows it.
func (ks kinds) doubt(object string) (reason string, sure bool) {
	if ks.know(object) {
		return "", false
	}
	var none, have, custom []string
	for _, k := range ks {
		if k.objects.open {
			none = append(none, "no standard "+k.objects.noun+" of "+k.title)
			custom = append(custom, " A custom "+k.objects.noun+": name its account in the column account")
			continue
		}
		none, have = append(none, "no "+k.objects.noun+" of "+k.title), append(have, " "+k.title+" has "+and(k.objects.names())+".")
	}
	near, sure := ks.near(object)
	reason = "is " + strings.Join(none, " and ")
	if len(near) > 0 {
		reason += "; did you mean " + strings.Join(near, " or ") + "?"
	} else {
		reason += "." + strings.Join(have, "")
	}
	return reason + strings.Join(custom, ""), sure
}

// know says whether an object is a word of one of the CRMs.
func (ks kinds) know(object string) bool {
	return slices.ContainsFunc(ks, func(k kind) bool {
		_, ok := k.objects.read(object)
		return ok
	})
}

// near returns the objects that a word was probably meant to be; sure says that one of
// them is that of a CRM which has no others.
func (ks kinds) near(word string) (near []string, sure bool) {
	for _, k := range ks {
		if one := sheet.Near(word, k.objects.words...); one != "" {
			name, _ := k.objects.read(one)
			near, sure = append(near, name), sure || !k.objects.open
		}
	}
	return near, sure
}

// seeded returns the object that a sandbox has in the place of a word that is nearly one
// of a CRM which has no others: the row that names it is refused, as the CRM would refuse
// it. Any other word may be an object of an organisation's own.
func (ks kinds) seeded(object string) string {
	if _, sure := ks.near(object); ks.know(object) || !sure {
		return object
	}
	for _, k := range ks {
		if k.objects.open {
			return k.objects.words[0]
		}
	}
	return object
}

// foreign returns what is to be said of an object that is a word of another CRM than the
// account's: why a row that does not fit is probably meant for another account, and,
// where this CRM reads it as one of its own, how it was read.
func (ks kinds) foreign(account string, own kind, object string) (reason, note string) {
	read, ok := own.objects.read(object)
	if ok && strings.EqualFold(read, object) {
		return "", ""
	}
	i := slices.IndexFunc(ks, func(k kind) bool {
		_, theirs := k.objects.read(object)
		return theirs && k.name != own.name
	})
	if i < 0 {
		return "", ""
	}
	if ok {
		note = fmt.Sprintf("%s was read as %s's %s, because account %s is %s", crm.Quote(object), own.title, read, account, own.title)
	}
	reason = fmt.Sprintf("is %s's %s, and account %s is %s. Name another account (--account, column account)", ks[i].title, ks[i].objects.noun, account, own.title)
	if own.objects.open {
		reason += fmt.Sprintf(", or the API name of a %s, such as %s", own.objects.noun, own.objects.words[0])
	}
	return reason, note
}

// words returns what the engine is told of the words for objects. Rows without an account
// go to those of byObject, if there are any.
func (ks kinds) words(accounts []*account, byObject kinds) batch.Words {
	of := make(map[string]kind)
	for _, a := range accounts {
		of[a.name] = a.kind
	}
	words := batch.Words{Foreign: func(account, object string) (reason, note string) { return ks.foreign(account, of[account], object) }}
	if byObject != nil {
		words.Route, words.Doubt = byObject.route, byObject.doubt
	}
	return words
}

// names returns the objects that the words stand for, each once.
func (o objects) names() []string {
	var names []string
	for _, word := range o.words {
		if name, _ := o.read(word); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
