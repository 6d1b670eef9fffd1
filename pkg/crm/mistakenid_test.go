package crm

import (
	"strings"
	"testing"
)

func TestMistakenID(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"4.15087E+18": "spreadsheet", "1,23457E+05": "as text", "869196.0": "write 869196 ", "869196,00": "decimals",
		"https://crm.zoho.com/crm/org1/tab/Leads/4150868000000650001": "web address", "www.example.com/1": "web address",
		"a@x.example; b@x.example": "holds several", "a@x.example b@x.example": "holds several", "12,13": "holds several", "12\n13": "holds several",
		"869196": "", "0": "", "0869196": "write 869196 ", "0000": "begins with a zero", "0x12": "", "Bob Doe": "", "a@x.example": "", "869190X": "", "": "", "f2dbf1d5-bbab-418b-bddc-4c92ecdef214": "", "12.5": "",
	} {
		if got := MistakenID(value); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want something with %q", value, got, want)
		}
	}
}
