package crm

import (
	"regexp"
	"strings"
)

var (
	// damagedID is what spreadsheets make of a long number: 4.15087E+18, 1,23457E+05.
	damagedID = regexp.MustCompile(`^[+-]?[0-9]+([.,][0-9]*)?[eE][+-]?[0-9]+$`)
	// decimalID is a number that a program has written with decimals: 869196.0.
	decimalID = regexp.MustCompile(`^([0-9]+)[.,]0+$`)
	// paddedID is a number with zeros before it: 0100.
	paddedID = regexp.MustCompile(`^0+([0-9]+)$`)
)

// MistakenID returns what seems to have happened to a value that is no id, in words
// that follow the quoted value; "" if it is none of the usual mistakes.
func MistakenID(s string) string {
	switch {
	case damagedID.MatchString(s):
		return "is what a spreadsheet has left of a long number: " +
			"format the column as text and enter the id again, the missing digits can not be guessed"
	case decimalID.MatchString(s):
		return "is a number with decimals, as a program writes it that takes ids for numbers: " +
			"export the column as text, or write " + decimalID.FindStringSubmatch(s)[1] + " if it is short enough to be exact"
	case paddedID.MatchString(s):
		return "begins with a zero, as no id does: write " + paddedID.FindStringSubmatch(s)[1] + " if that is the id that the CRM shows"
	case strings.Contains(s, "://"), strings.HasPrefix(s, "www."):
		return "is a web address: write the id alone, which is often the last part of it"
	case several(s):
		return "holds several: give each a row of its own"
	}
	return ""
}

// several reports whether a cell lists ids or addresses, each with a digit or an "@",
// one after the other.
func several(s string) bool {
	parts := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",;| \t\r\n", r) })
	for _, part := range parts {
		if !strings.ContainsAny(part, "0123456789@") {
			return false
		}
	}
	return len(parts) > 1
}
