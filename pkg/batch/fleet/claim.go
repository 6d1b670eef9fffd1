package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Claim is one host's right to send for what a key stands for: an account, an
// organisation, or a ledger ("ledger/NAME").
type Claim struct {
	Key string
	// Generation is larger than that of whoever had the key before.
	Generation int64
	// Past is what the last Save or Release left, nil if nothing.
	Past []byte
	// Age is how long ago, by PostgreSQL's clock, Past was written.
	Age time.Duration
	// Unclean says that somebody who may have sent for the key did not say goodbye, and
	// nobody after them.
	Unclean bool
	// Ended is how long ago, by PostgreSQL's clock, the lease of the last of those ended at
	// the latest. It is never negative.
	Ended time.Duration
}

// ClaimOptions say how to claim.
type ClaimOptions struct {
	// Wait is how long to wait for what another living host, or another sheet of this one,
	// has.
	Wait time.Duration
	// What is what people call a key, such as `account "main"`. It is kept for others.
	What map[string]string
	// For is the sheet that it is for, which others are told.
	For string
}

// Claims are keys that were claimed together, by one sheet's run.
type Claims struct {
	h          *Host
	generation int64
	claims     map[string]Claim
}

// Claim claims all keys or none. What a living host has is waited for as o says; then it
// is a *HeldError. What a host has that shows no sign of life is waited for, whatever o
// says, until it does (a *HeldError) or can be declared dead, which takes some 20 s, and
// is taken over. ErrLost and ErrLeft as from May.
func (h *Host) Claim(ctx context.Context, keys []string, o ClaimOptions) (*Claims, error) {
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	began := h.d.clock()
	for {
		c, held, err := h.claimOnce(ctx, keys, o)
		if err != nil {
			return nil, fmt.Errorf("claim what %s needs: %w", cmp.Or(o.For, "a sheet"), err)
		}
		if held == nil {
			return c, nil
		}
		if held.alive && h.d.clock()-began >= o.Wait {
			return nil, &held.HeldError
		}
		if !sleep(ctx, h.d.times.poll) {
			return nil, context.Cause(ctx)
		}
	}
}

// held is who has a key, and whether they are known to live.
type held struct {
	HeldError
	alive bool
}

func (h *Host) claimOnce(ctx context.Context, keys []string, o ClaimOptions) (*Claims, *held, error) {
	if err := h.May(); errors.Is(err, ErrLost) || errors.Is(err, ErrLeft) {
		return nil, nil, err
	}
	what := make([]string, len(keys))
	for i, key := range keys {
		what[i] = o.What[key]
	}
	c := &Claims{h: h, claims: make(map[string]Claim, len(keys))}
	var other *held
	err := h.d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		other = nil
		if c.generation != 0 {
			// The one before may have committed, with only the answer lost.
			var taken int
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM bulkrevoke.fleet_claim WHERE host = $1 AND generation = $2`, h.id, c.generation).Scan(&taken); err != nil {
				return err
			}
			if taken == len(keys) && len(c.claims) == taken {
				return nil
			}
		}
		clear(c.claims)
		if _, err := tx.Exec(ctx, `INSERT INTO bulkrevoke.fleet_claim (key) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING`, keys); err != nil {
			return err
		}
		if err := lockClaims(ctx, tx, `WHERE key = ANY($1)`, keys); err != nil {
			return err
		}
		var err error
		if other, err = h.free(ctx, tx, keys, o); other != nil || err != nil {
			return cmp.Or(err, errHeld)
		}
		// Nobody can have taken the keys for us once we are dead: this may run when a frozen
		// process goes on.
		var dead bool
		if err := tx.QueryRow(ctx, `SELECT dead IS NOT NULL, nextval('bulkrevoke.fleet_generation') FROM bulkrevoke.fleet_host WHERE id = $1`, h.id).Scan(&dead, &c.generation); err != nil {
			return err
		}
		if dead {
			return ErrLost
		}
		// Whoever is declared dead was silent before for longer than a lease lasts: that holds
		// also where PostgreSQL's clock was set forward since it was seen.
		rows, err := tx.Query(ctx, `UPDATE bulkrevoke.fleet_claim c
			SET host = $1, generation = $2, sheet = $3, what = CASE wanted.what WHEN '' THEN c.what ELSE wanted.what END, since = clock_timestamp(),
				ended = greatest(c.ended, (SELECT greatest(before.seen + $6::interval, before.dead - $7::interval) FROM bulkrevoke.fleet_host before WHERE before.id = c.host))
			FROM unnest($4::text[], $5::text[]) AS wanted (key, what) WHERE c.key = wanted.key
			RETURNING c.key, c.past, `+ago("c.past_at")+`, c.ended IS NOT NULL, `+ago("c.ended"),
			h.id, c.generation, o.For, keys, what, h.d.times.lease, h.d.times.dead-h.d.times.lease)
		if err != nil {
			return err
		}
		var one Claim
		var age, ended int64
		_, err = pgx.ForEachRow(rows, []any{&one.Key, &one.Past, &age, &one.Unclean, &ended}, func() error {
			one.Generation, one.Age, one.Ended = c.generation, time.Duration(age)*time.Microsecond, time.Duration(ended)*time.Microsecond
			c.claims[one.Key] = one
			one.Past = nil
			return nil
		})
		return err
	})
	if errors.Is(err, errHeld) {
		return nil, other, nil
	}
	return c, nil, err
}

// errHeld rolls a transaction back that found a key held.
var errHeld = errors.New("held")

// ago is the microseconds since a time, 0 if there is none or it is in the future.
func ago(column string) string {
	return `coalesce(greatest(0, (extract(epoch FROM clock_timestamp() - ` + column + `) * 1e6)::bigint), 0)`
}

// lockClaims locks claims until the transaction ends, all in the same order, so that two
// hosts never wait for each other. What is read after it is as whoever had them left it.
func lockClaims(ctx context.Context, tx pgx.Tx, where string, args ...any) error {
	_, err := tx.Exec(ctx, `SELECT key FROM bulkrevoke.fleet_claim `+where+` ORDER BY key FOR UPDATE`, args...)
	return err
}

// free declares the hosts dead that have one of the keys and have been silent. It returns
// who else has one, those first that are known to live.
func (h *Host) free(ctx context.Context, tx pgx.Tx, keys []string, o ClaimOptions) (*held, error) {
	rows, err := tx.Query(ctx, `SELECT c.key, c.what, c.sheet, c.since, h.id, h.name, h.pid, h.seen
		FROM bulkrevoke.fleet_claim c JOIN bulkrevoke.fleet_host h ON h.id = c.host
		WHERE c.key = ANY($1) AND h.dead IS NULL ORDER BY h.id, c.key`, keys)
	if err != nil {
		return nil, err
	}
	type holder struct {
		held
		id   string
		seen time.Time
	}
	var holders []holder
	var one holder
	_, err = pgx.ForEachRow(rows, []any{&one.Key, &one.What, &one.For, &one.Since, &one.id, &one.Host, &one.PID, &one.seen}, func() error {
		one.What = cmp.Or(o.What[one.Key], one.What, one.Key)
		holders = append(holders, one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var blocking *held
	for i, one := range holders {
		if i > 0 && one.id == holders[i-1].id {
			continue // one of its keys says all
		}
		silent := false
		if one.id == h.id {
			one.alive = true
		} else {
			one.alive, silent = h.others.note(one.id, one.seen)
		}
		if silent && h.lease.steady() {
			dead, err := h.declareDead(ctx, tx, one.id)
			if err != nil {
				return nil, err
			}
			if dead {
				continue
			}
		}
		if blocking == nil || one.alive && !blocking.alive {
			blocking = &one.held
		}
	}
	return blocking, nil
}

// All returns the claims in the order of their keys.
func (c *Claims) All() []Claim {
	all := make([]Claim, 0, len(c.claims))
	for _, key := range slices.Sorted(maps.Keys(c.claims)) {
		all = append(all, c.claims[key])
	}
	return all
}

// Get returns a key's claim, the zero Claim if it was not claimed.
func (c *Claims) Get(key string) Claim { return c.claims[key] }

// LedgerPrefix begins the keys of ledgers.
const LedgerPrefix = "ledger/"

// Check returns an error that is ErrLost unless the ledger among the claims and the named
// keys are still this host's, by this very claim, and the host is not dead. It is for a
// transaction that writes into the ledger: count runs a query there with ? for its values
// (int64, string, []string) and returns its only number, called n.
//
// It locks nothing. The ledger locks its head before it calls Check, and whoever takes
// over passes that lock before they read the ledger: so either they took over before,
// which Check sees, or they see what this transaction writes. Others may come between the
// commit and the call that it announces: so May is asked right before that goes out.
func (c *Claims) Check(ctx context.Context, count func(query string, args ...any) (int64, error), keys []string) error {
	all := slices.Clone(keys)
	for key := range c.claims {
		if strings.HasPrefix(key, LedgerPrefix) {
			all = append(all, key)
		}
	}
	all = slices.Compact(slices.Sorted(slices.Values(all)))
	n, err := count(`SELECT count(*) AS n FROM bulkrevoke.fleet_claim c JOIN bulkrevoke.fleet_host h ON h.id = c.host
		WHERE h.dead IS NULL AND c.host = ? AND c.generation = ? AND c.key = ANY(?::text[])`, c.h.id, c.generation, all)
	if err != nil {
		return err
	}
	if n != int64(len(all)) {
		return ErrLost
	}
	return ctx.Err()
}

// Save stores for each key what whoever claims it next must know if this host dies. It is
// ErrLost if one is no longer this host's; then nothing is stored.
func (c *Claims) Save(ctx context.Context, past map[string][]byte) error {
	keys, values := c.named(past)
	if len(keys) == 0 {
		return nil
	}
	err := c.h.d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := lockClaims(ctx, tx, `WHERE key = ANY($1)`, keys); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, `UPDATE bulkrevoke.fleet_claim c SET past = left_behind.past, past_at = clock_timestamp()
			FROM unnest($1::text[], $2::bytea[]) AS left_behind (key, past)
			WHERE c.key = left_behind.key AND c.host = $3 AND c.generation = $4
			AND EXISTS (SELECT FROM bulkrevoke.fleet_host h WHERE h.id = $3 AND h.dead IS NULL)`, keys, values, c.h.id, c.generation)
		if err == nil && done.RowsAffected() != int64(len(keys)) {
			err = ErrLost
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("save what others must know about the accounts: %w", err)
	}
	return nil
}

// Release gives all keys back. This host says goodbye for those in past and leaves what
// stands there: it will send nothing more for them. The untouched ones it never sent for,
// and they are left as they were found. All others end as if it had died just now.
//
// It is ErrLost if one was no longer this host's; then nothing changes. To release again
// is safe. After any other error the host goes on trying until it is lost or leaves: while it
// lives, nobody else could take the keys.
func (c *Claims) Release(ctx context.Context, past map[string][]byte, untouched ...string) error {
	keys := slices.Sorted(maps.Keys(c.claims))
	if len(keys) == 0 {
		return nil
	}
	how, values := make([]string, len(keys)), make([][]byte, len(keys))
	for i, key := range keys {
		if value, ok := past[key]; ok {
			how[i], values[i] = "clean", value
		} else if slices.Contains(untouched, key) {
			how[i] = "untouched"
		}
	}
	giveBack := func(ctx context.Context, tx pgx.Tx) error {
		if err := lockClaims(ctx, tx, `WHERE key = ANY($1)`, keys); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, `UPDATE bulkrevoke.fleet_claim c SET host = NULL, sheet = '', since = NULL,
				past = CASE ends.how WHEN 'clean' THEN ends.past ELSE c.past END,
				past_at = CASE ends.how WHEN 'clean' THEN clock_timestamp() ELSE c.past_at END,
				ended = CASE ends.how WHEN 'clean' THEN NULL WHEN 'untouched' THEN c.ended ELSE clock_timestamp() END
			FROM unnest($1::text[], $2::text[], $3::bytea[]) AS ends (key, how, past)
			WHERE c.key = ends.key AND c.host = $4 AND c.generation = $5
			AND EXISTS (SELECT FROM bulkrevoke.fleet_host h WHERE h.id = $4 AND h.dead IS NULL)`, keys, how, values, c.h.id, c.generation)
		if err != nil || done.RowsAffected() == int64(len(keys)) {
			return err
		}
		// All were released before, and only the answer was lost.
		var free int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM bulkrevoke.fleet_claim c WHERE key = ANY($1) AND generation = $2 AND host IS NULL
			AND EXISTS (SELECT FROM bulkrevoke.fleet_host h WHERE h.id = $3 AND h.dead IS NULL)`, keys, c.generation, c.h.id).Scan(&free); err != nil {
			return err
		}
		if free != len(keys) {
			return ErrLost
		}
		return nil
	}
	err := c.h.d.change(ctx, giveBack)
	if err != nil && !errors.Is(err, ErrLost) {
		c.h.owe(func(ctx context.Context) error { return c.h.d.changeOnce(ctx, giveBack) })
	}
	if err != nil {
		return fmt.Errorf("release the accounts: %w", err)
	}
	return nil
}

func (c *Claims) named(past map[string][]byte) (keys []string, values [][]byte) {
	keys = slices.Sorted(maps.Keys(past))
	for _, key := range keys {
		values = append(values, past[key])
	}
	return keys, values
}

// Places returns what SetPlace said the keys belong to; a key of which it said nothing is not
// among them.
func (d *Database) Places(ctx context.Context, keys []string) (map[string]string, error) {
	places := make(map[string]string)
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT key, place FROM bulkrevoke.fleet_place WHERE key = ANY($1)`, keys)
		if err != nil {
			return err
		}
		var key, place string
		_, err = pgx.ForEachRow(rows, []any{&key, &place}, func() error {
			places[key] = place
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what accounts belong to: %w", err)
	}
	return places, nil
}

// ForgetPlace has the next SetPlace say anew what a key belongs to.
func (d *Database) ForgetPlace(ctx context.Context, key string) error {
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM bulkrevoke.fleet_place WHERE key = $1`, key)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget what an account belongs to: %w", err)
	}
	return nil
}

// InUse returns who has one of the keys now, nil if nobody has: it takes nothing, and waits for
// nobody.
func (d *Database) InUse(ctx context.Context, keys []string) (held *HeldError, err error) {
	err = d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		one := new(HeldError)
		err := tx.QueryRow(ctx, `SELECT c.key, c.what, c.sheet, c.since, h.name, h.pid FROM bulkrevoke.fleet_claim c JOIN bulkrevoke.fleet_host h ON h.id = c.host
			WHERE c.key = ANY($1) AND h.dead IS NULL ORDER BY c.key LIMIT 1`, keys).Scan(&one.Key, &one.What, &one.For, &one.Since, &one.Host, &one.PID)
		if held = one; err == pgx.ErrNoRows {
			held, err = nil, nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look who has the accounts: %w", err)
	}
	return held, nil
}

// SetPlace says which place (an organisation) a key belongs to, for good. It is a
// *PlaceError if it belongs to another one already.
func (d *Database) SetPlace(ctx context.Context, key, place string) error {
	var has string
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO bulkrevoke.fleet_place (key, place) VALUES ($1, $2) ON CONFLICT DO NOTHING`, key, place); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT place FROM bulkrevoke.fleet_place WHERE key = $1`, key).Scan(&has)
	})
	if err != nil {
		return fmt.Errorf("store what an account belongs to: %w", err)
	}
	if has != place {
		return &PlaceError{Key: key, Place: has, Want: place}
	}
	return nil
}
