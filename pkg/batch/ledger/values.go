package ledger

import (
	"database/sql/driver"
	"time"
)

// Values come from the driver as int64, string, []byte or nil. A column that is
// null reads as the zero value.
func integer(v driver.Value) int64 { n, _ := v.(int64); return n }

func text(v driver.Value) string { s, _ := v.(string); return s }

func blob(v driver.Value) []byte { b, _ := v.([]byte); return b }

func truth(v driver.Value) bool { return integer(v) != 0 }

// bit is how a bool is stored.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// orNull stores an empty string as null, which takes no room in a row.
func orNull(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}

// millis stores a time as milliseconds since 1970, the zero time as null.
func millis(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func instant(v driver.Value) time.Time {
	if v == nil {
		return time.Time{}
	}
	return time.UnixMilli(integer(v)).UTC()
}
