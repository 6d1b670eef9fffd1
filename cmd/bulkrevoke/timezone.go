package main

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a machine may have no time zones of its own

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// zoneFlag is a time zone as a flag. The zero value is "not given".
type zoneFlag struct{ *time.Location }

func (f *zoneFlag) String() string {
	if f.Location == nil {
		return ""
	}
	return f.Location.String()
}

func (f *zoneFlag) Type() string { return "ZONE" }

// Set takes the IANA name of a zone. That of this machine is none: the same sheet would mean
// other days elsewhere.
func (f *zoneFlag) Set(name string) error {
	zone, err := loadZone(name)
	if err == nil {
		f.Location = zone
		return nil
	}
	for _, part := range []string{"Europe", "Asia", "America", "Africa", "Australia", "Pacific", "Atlantic", "Indian"} {
		city := []rune(strings.ReplaceAll(strings.TrimSpace(name), " ", "_"))
		if len(city) > 0 {
			city = append([]rune(strings.ToUpper(string(city[:1]))), city[1:]...)
		}
		if zone, err := loadZone(part + "/" + string(city)); err == nil {
			return fmt.Errorf("%q is no time zone; did you mean %s?", name, zone)
		}
	}
	return fmt.Errorf("%q is no time zone; name one of the IANA list, such as Europe/Berlin, Asia/Kolkata or UTC", name)
}

func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" || strings.HasSuffix(name, "/") {
		return nil, fmt.Errorf("%q names no place", name)
	}
	return time.LoadLocation(name)
}

// listFlag is a list of names of columns as a flag.
type listFlag []string

func (f *listFlag) String() string { return strings.Join(*f, ",") }

func (f *listFlag) Type() string { return "LIST" }

// Set takes names with commas between them.
func (f *listFlag) Set(s string) error {
	var names []string
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name == "" {
			return fmt.Errorf("%q has an empty name in it; name columns with commas between them, such as reviewer,reason", s)
		}
		for _, other := range names {
			if sheet.SameName(other, name) {
				return fmt.Errorf("%q names the column %s twice", s, name)
			}
		}
		names = append(names, name)
	}
	*f = names
	return nil
}
