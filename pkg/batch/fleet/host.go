package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Host is this process, from Join to Leave. Its methods can be called by many at once.
type Host struct {
	d       *Database
	id      string
	name    string
	lease   *lease
	stop    context.CancelFunc
	loops   sync.WaitGroup
	others  signs
	working atomic.Bool

	mu   sync.Mutex
	owed []func(context.Context) error // claims that could not be given back yet
}

// Join registers this process under the name, anew each time, and starts its heartbeats.
// They go on until Leave, whatever becomes of ctx.
func (d *Database) Join(ctx context.Context, name string) (*Host, error) {
	h := &Host{d: d, id: newHostID(name), name: name, lease: newLease(d.clock, d.times), others: signs{now: d.clock, times: d.times}}
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		asked := d.clock()
		// A dead host is forgotten after a day, unless a claim still says when it ended by it.
		if _, err := tx.Exec(ctx, `DELETE FROM bulkrevoke.fleet_host h WHERE dead < clock_timestamp() - interval '1 day'
			AND NOT EXISTS (SELECT FROM bulkrevoke.fleet_claim c WHERE c.host = h.id)
			AND NOT EXISTS (SELECT FROM bulkrevoke.fleet_sheet s WHERE s.host = h.id)`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO bulkrevoke.fleet_host (id, name, pid) VALUES ($1, $2, $3)
			ON CONFLICT (id) DO UPDATE SET seen = clock_timestamp()`, h.id, name, os.Getpid())
		h.lease.renew(asked)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("join the other hosts: %w", err)
	}
	loops, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	h.loops.Go(func() { h.beat(loops) })
	h.loops.Go(func() { h.watch(loops) })
	return h, nil
}

// newHostID is the name, so that it is known in River's page, and something random.
func newHostID(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, name)
	var random [8]byte
	rand.Read(random[:])
	return plain[:min(len(plain), 60)] + "-" + hex.EncodeToString(random[:])
}

// ID is this registration's name, different each time.
func (h *Host) ID() string { return h.id }

// May returns nil while this host may send: nobody else can have been given its claims. It
// is ErrAway while the database does not answer, ErrLost once others have declared it dead
// and ErrLeft once it has left. It is cheap and never waits: ask it before each request.
func (h *Host) May() error { return h.lease.may() }

// Lost is closed when this host was declared dead. It never comes back.
func (h *Host) Lost() <-chan struct{} { return h.lease.lost }

// Leave ends the heartbeats and gives back what the host still holds: its claims as one
// that did not say goodbye, its sheets to the queue. May is ErrLeft before anything is
// given back; Work has ended. Where the database cannot be told, others find out by
// themselves.
func (h *Host) Leave(ctx context.Context) error {
	h.lease.end(ErrLeft)
	h.stop()
	h.loops.Wait()
	err := h.d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := lockClaims(ctx, tx, `WHERE host = $1`, h.id); err != nil {
			return err
		}
		var left bool
		err := tx.QueryRow(ctx, `UPDATE bulkrevoke.fleet_host SET dead = clock_timestamp(), gone = true WHERE id = $1 AND dead IS NULL RETURNING true`, h.id).Scan(&left)
		if err == pgx.ErrNoRows {
			return nil // declared dead, or done before
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE bulkrevoke.fleet_claim SET host = NULL, sheet = '', since = NULL, ended = clock_timestamp() WHERE host = $1`, h.id); err != nil {
			return err
		}
		return h.d.handBackAll(ctx, tx, h.id)
	})
	if err != nil {
		return fmt.Errorf("leave the other hosts: %w", err)
	}
	return nil
}

// beat sends heartbeats on a connection of its own, which no other statement can hold up.
func (h *Host) beat(ctx context.Context) {
	var conn *pgx.Conn
	hangUp := func() {
		if conn != nil {
			soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			conn.Close(soon)
			cancel()
			conn = nil
		}
	}
	defer hangUp()
	h.lease.keep(ctx, func(ctx context.Context) (bool, error) {
		var err error
		if conn == nil || conn.IsClosed() {
			config := h.d.own()
			// All servers that the URL names get their chance within the limit.
			config.ConnectTimeout = min(config.ConnectTimeout, h.d.times.beatLimit/time.Duration(1+len(config.Fallbacks)))
			if conn, err = pgx.ConnectConfig(ctx, config); err != nil {
				conn = nil
				return false, err
			}
		}
		var done pgconn.CommandTag
		if done, err = conn.Exec(ctx, `UPDATE bulkrevoke.fleet_host SET seen = clock_timestamp() WHERE id = $1 AND dead IS NULL`, h.id); err != nil {
			hangUp()
			return false, err
		}
		return done.RowsAffected() == 1, nil
	}, h.d.log.With("host", h.id))
}

// owe has a claim given back as soon as the database can be told.
func (h *Host) owe(giveBack func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owed = append(h.owed, giveBack)
}

// payBack gives back what is owed, as far as it goes.
func (h *Host) payBack(ctx context.Context) {
	h.mu.Lock()
	owed := h.owed
	h.owed = nil
	h.mu.Unlock()
	for len(owed) > 0 {
		if err := owed[0](ctx); err != nil && !errors.Is(err, ErrLost) {
			if ctx.Err() == nil && !passing(err) {
				h.d.log.Error("what this host has no use for could not be given back", "host", h.id, "error", err)
			}
			break
		}
		owed = owed[1:]
	}
	h.mu.Lock()
	h.owed = append(owed, h.owed...)
	h.mu.Unlock()
}

// watch looks after the other hosts and declares dead who was silent for too long.
func (h *Host) watch(ctx context.Context) {
	for sleep(ctx, h.d.times.watch) {
		if h.lease.over.Load() != nil {
			return
		}
		h.payBack(ctx)
		silent, err := h.look(ctx)
		if err != nil {
			continue
		}
		if !h.lease.steady() {
			silent = nil
		}
		for _, id := range silent {
			// It fails while the database is away, and is tried again with the next look.
			err := h.d.changeOnce(ctx, func(ctx context.Context, tx pgx.Tx) error {
				_, err := h.declareDead(ctx, tx, id)
				return err
			})
			if err != nil && ctx.Err() == nil {
				h.d.log.Warn("a silent host could not be declared dead", "host", id, "error", err)
			}
		}
		if err := h.d.mend(ctx); err != nil && ctx.Err() == nil && !passing(err) {
			h.d.log.Error("the queue could not be looked through", "error", err)
		}
	}
}

// look reads when PostgreSQL saw the others, and returns those who have been silent. It also
// sees whether this host was declared dead, where heartbeats alone do not get through.
func (h *Host) look(ctx context.Context) (silent []string, err error) {
	limited, cancel := context.WithTimeout(ctx, h.d.times.beatLimit)
	defer cancel()
	seen := make(map[string]time.Time)
	rows, err := h.d.pool.Query(limited, `SELECT id, seen FROM bulkrevoke.fleet_host WHERE dead IS NULL`)
	alive := false
	if err == nil {
		var id string
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
			if id == h.id {
				alive = true
			} else {
				seen[id] = at
			}
			return nil
		})
	}
	if err != nil {
		h.others.forget() // nobody's silence counts while we could not hear
		return nil, err
	}
	if !alive {
		h.lease.end(ErrLost)
		h.d.log.Error("this host was declared dead: its heartbeats did not get through", "host", h.id)
		return nil, ErrLost
	}
	return h.others.all(seen), nil
}

// declareDead ends a host for good if PostgreSQL has not seen it for too long (or its clock was set
// back since: then this host's own clock alone says that it was silent), gives its
// sheets back to the queue, and reports whether it is dead. Its claims stay its own until
// somebody takes them over: they say when it ended.
func (h *Host) declareDead(ctx context.Context, tx pgx.Tx, id string) (bool, error) {
	done, err := tx.Exec(ctx, `UPDATE bulkrevoke.fleet_host SET dead = clock_timestamp() WHERE id = $1 AND dead IS NULL
		AND (seen < clock_timestamp() - $2::interval OR seen > clock_timestamp())
		AND EXISTS (SELECT FROM bulkrevoke.fleet_host me WHERE me.id = $3 AND me.dead IS NULL AND me.seen > clock_timestamp() - $4::interval)`,
		id, h.d.times.dead, h.id, h.d.times.lease)
	if err != nil {
		return false, err
	}
	if done.RowsAffected() == 1 {
		h.d.log.Warn("a host was silent for too long and is declared dead", "host", id)
		return true, h.d.handBackAll(ctx, tx, id)
	}
	var dead bool
	err = tx.QueryRow(ctx, `SELECT dead IS NOT NULL FROM bulkrevoke.fleet_host WHERE id = $1`, id).Scan(&dead)
	return dead, err
}

// signs are the heartbeats of others as this host sees them: that they come, by its own
// clock. A jump of PostgreSQL's clock makes nobody dead.
type signs struct {
	now   clock
	times times
	mu    sync.Mutex
	hosts map[string]sign
}

type sign struct {
	seen  time.Time     // what PostgreSQL said; only compared for being the same
	since time.Duration // when it was first read
	moved bool          // another one was read before: it was alive at since
}

// note takes note of one host, and reports whether it is seen to be alive, or has been
// silent for so long that it may be declared dead. It can be neither.
func (s *signs) note(id string, seen time.Time) (alive, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(id, seen)
}

func (s *signs) add(id string, seen time.Time) (alive, silent bool) {
	now := s.now()
	had, known := s.hosts[id]
	if !known || !had.seen.Equal(seen) {
		if s.hosts == nil {
			s.hosts = make(map[string]sign)
		}
		had = sign{seen: seen, since: now, moved: known}
		s.hosts[id] = had
	}
	return had.moved && now-had.since <= s.times.alive, now-had.since >= s.times.dead
}

// all takes note of all others that live, and returns the silent ones.
func (s *signs) all(seen map[string]time.Time) (silent []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.hosts, func(id string, _ sign) bool {
		_, ok := seen[id]
		return !ok
	})
	for _, id := range slices.Sorted(maps.Keys(seen)) {
		if _, is := s.add(id, seen[id]); is {
			silent = append(silent, id)
		}
	}
	return silent
}

func (s *signs) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = nil
}
