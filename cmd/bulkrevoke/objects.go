package main

import (
	"fmt"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// routeByObject returns the account of a row that names none where the accounts are
// called after their CRMs, by its object: LeadSquared has three, everything else is
// a module of Zoho.
func routeByObject(object string) string {
	if _, ok := leadsquared.Object(object); ok && !zoho.Module(object) {
		return crmLeadSquared
	}
	return crmZoho
}

// doubtObject says why an object that chooses its row's account may be a slip of
// typing: it is a word of neither CRM, and a slip would go to the wrong one. A word
// that is nearly one of LeadSquared's is surely one; another may be a custom module,
// if the sheet shows it.
func doubtObject(object string) (reason string, sure bool) {
	if _, ok := leadsquared.Object(object); ok || zoho.Module(object) {
		return "", false
	}
	near, sure := nearObjects(object)
	choice := fmt.Sprintf(". LeadSquared has %s, %s and %s", crm.Lead, crm.Opportunity, crm.SalesGroup)
	if len(near) > 0 {
		choice = "; did you mean " + strings.Join(near, " or ") + "?"
	} else {
		choice += "."
	}
	return "is no object of LeadSquared and no standard module of Zoho" + choice + " A custom module: name its account in the column account", sure
}

// nearObjects returns the objects of either CRM that a word was probably meant to be;
// sure says that one of them is LeadSquared's.
func nearObjects(word string) (near []string, sure bool) {
	if one := sheet.Near(word, "lead", "leads", "opportunity", "opportunities", "sales_group", "sales_groups", "group"); one != "" {
		named, _ := leadsquared.Object(one)
		near, sure = append(near, named), true
	}
	if one := sheet.Near(word, zoho.StandardModules()...); one != "" {
		near = append(near, one)
	}
	return near, sure
}

// meantModule returns the module that a sandbox has in the place of a word that is
// nearly one of LeadSquared's: the row that names it is refused, as the CRM would refuse
// it. Any other word may be a module of somebody's own.
func meantModule(object string) string {
	if _, ok := leadsquared.Object(object); ok || zoho.Module(object) {
		return object
	}
	if _, sure := nearObjects(object); sure {
		return "Leads"
	}
	return object
}

// foreignObject returns what is to be said of an object that is a word of the other
// CRM than the account's: why a row that does not fit is probably meant for another
// account, and, where the word is one of this CRM too, how it was read.
func foreignObject(a *account) func(object string) (reason, note string) {
	const elsewhere = "Name another account (--account, column account)"
	name := a.name
	if a.conf.CRM == crmZoho {
		return func(object string) (reason, note string) {
			if _, ok := leadsquared.Object(object); ok && !zoho.Module(object) {
				reason = fmt.Sprintf("is LeadSquared's object, and account %s is Zoho. %s, or the API name of a module, such as Leads", name, elsewhere)
			}
			return reason, ""
		}
	}
	return func(object string) (reason, note string) {
		if !zoho.Module(object) {
			return "", ""
		}
		if read, ok := leadsquared.Object(object); ok {
			note = fmt.Sprintf("%s was read as LeadSquared's %s, because account %s is LeadSquared", crm.Quote(object), read, name)
		}
		return fmt.Sprintf("is Zoho's module, and account %s is LeadSquared. %s", name, elsewhere), note
	}
}
