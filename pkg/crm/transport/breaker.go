package transport

import (
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// health is how an attempt went, as far as the host's being of use is concerned.
type health uint8

const (
	healthy     health = iota // the vendor's application answered
	failing                   // no answer, or one from something in front of it
	misdirected               // a host that does not exist, or one that is not who it says
)

const (
	tripAfter        = 5  // failures in a row that pause the account
	endAfter         = 12 // failures in a row that end it
	misdirectedAfter = 3  // of these that lead misdirected in a row, which do not mend themselves
	endDown          = 2 * time.Minute
	firstRetry       = time.Second
	slowestTry       = 30 * time.Second
	retryJitter      = 0.2
)

// breaker counts failures in a row over all calls of an account. Failures of calls
// that were under way when a pause began are not shown to it: twenty workers that
// meet one hiccup are one hiccup. The zero value is a healthy account.
type breaker struct {
	row         int       // failures in a row
	misdirected int       // of these, how many at the end led misdirected
	down        time.Time // when it first paused the account; zero: it has not
}

// tripped is what the breaker asks for: nothing, a pause, or the end.
type tripped struct {
	pause time.Duration
	end   bool
}

// next returns the state after one more attempt. jitter is random, from 0 up to 1.
func (b breaker) next(h health, now time.Time, jitter float64) (breaker, tripped) {
	if h == healthy {
		return breaker{}, tripped{}
	}
	b.row++
	if h == misdirected {
		b.misdirected++
	} else {
		b.misdirected = 0
	}
	down := !b.down.IsZero() && now.Sub(b.down) >= endDown
	if b.row >= endAfter || b.misdirected >= misdirectedAfter || down {
		return b, tripped{end: true}
	}
	step := max(b.row-tripAfter, b.misdirected-1)
	if step < 0 {
		return b, tripped{}
	}
	if b.down.IsZero() {
		b.down = now
	}
	pause := min(firstRetry<<step, slowestTry)
	return b, tripped{pause: pause + time.Duration(retryJitter*jitter*float64(pause))}
}

// unreachable returns the error that ends an account which is of no use.
func unreachable(h health, why error) *crm.AccountError {
	hint := "Nothing useful answered for a while. Check the network and the CRM's status page, then run again to go on."
	if h == misdirected {
		hint = "Check the host name, a proxy in between, and whether ca_file is needed to trust the server's certificate."
	}
	return &crm.AccountError{Code: crm.EndUnreachable, Err: why, Hint: hint}
}
