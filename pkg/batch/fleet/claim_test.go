package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func claim(t testing.TB, h *Host, o ClaimOptions, keys ...string) *Claims {
	t.Helper()
	c, err := h.Claim(t.Context(), keys, o)
	must(t, err)
	return c
}

// check runs Check as the ledger does.
func check(d *Database, c *Claims, keys ...string) error {
	return c.Check(context.Background(), func(query string, args ...any) (n int64, err error) {
		for i := 1; strings.Contains(query, "?"); i++ {
			query = strings.Replace(query, "?", "$"+strconv.Itoa(i), 1)
		}
		err = d.pool.QueryRow(context.Background(), query, args...).Scan(&n)
		return n, err
	}, keys)
}

func TestClaimsAllOrNone(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	a, b := joined(t, d, "host-a"), joined(t, d, "host-b")
	first := claim(t, a, ClaimOptions{For: "one.csv", What: map[string]string{"k2": `account "main"`}}, "k2", "k1", "k2")
	if all := first.All(); len(all) != 2 || all[0].Key != "k1" || all[1].Key != "k2" || all[0].Generation == 0 || all[0].Unclean || all[0].Past != nil {
		t.Errorf("claimed %+v", all)
	}
	_, err := b.Claim(t.Context(), []string{"k3", "k2"}, ClaimOptions{For: "two.csv"})
	held, ok := errors.AsType[*HeldError](err)
	if !ok {
		t.Fatalf("got %v, want a HeldError", err)
	}
	if held.Key != "k2" || held.What != `account "main"` || held.Host != "host-a" || held.PID != os.Getpid() || held.For != "one.csv" || held.Since.IsZero() {
		t.Errorf("held: %+v", held)
	}
	if want := fmt.Sprintf(`account "main" is in use for one.csv by process %d on host-a since `, os.Getpid()); !strings.HasPrefix(err.Error(), want) {
		t.Errorf("message %q, want %q...", err, want)
	}
	claim(t, a, ClaimOptions{For: "three.csv"}, "k3") // b has not kept it
	// Another sheet of the same host is another one, and so is the same sheet once more.
	for _, name := range []string{"other.csv", "one.csv"} {
		if _, err := a.Claim(t.Context(), []string{"k1"}, ClaimOptions{For: name}); err == nil {
			t.Errorf("%s: got what one.csv has", name)
		}
	}
	must(t, check(d, first, "k1", "k2"))
	if err := check(d, first, "k3"); !errors.Is(err, ErrLost) {
		t.Errorf("check of a key of another claim: %v", err)
	}
	must(t, first.Release(t.Context(), nil))
	must(t, first.Release(t.Context(), nil)) // again is safe
	if err := check(d, first, "k1"); !errors.Is(err, ErrLost) {
		t.Errorf("check after the release: %v", err)
	}
	second := claim(t, b, ClaimOptions{For: "two.csv"}, "k1")
	if second.Get("k1").Generation <= first.Get("k1").Generation {
		t.Error("the generation did not grow")
	}
	if err := first.Release(t.Context(), nil); !errors.Is(err, ErrLost) {
		t.Errorf("release of what another has: %v", err)
	}
	if err := first.Save(t.Context(), map[string][]byte{"k1": nil}); !errors.Is(err, ErrLost) {
		t.Errorf("save of what another has: %v", err)
	}
}

func TestClaimWaitsForALivingHost(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	a, b := joined(t, d, "a"), joined(t, d, "b")
	first := claim(t, a, ClaimOptions{}, "k")
	got := make(chan *Claims)
	go func() {
		c, err := b.Claim(t.Context(), []string{"k"}, ClaimOptions{Wait: time.Hour})
		if err != nil {
			t.Error(err)
		}
		got <- c
	}()
	until(t, "b sees that a lives", func() bool { alive, _ := b.others.note(a.id, seenAt(t, d, a)); return alive })
	must(t, first.Release(t.Context(), map[string][]byte{"k": []byte("stamps")}))
	c := <-got
	if one := c.Get("k"); string(one.Past) != "stamps" || one.Unclean || one.Ended != 0 {
		t.Errorf("claimed %+v", one)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("reason")
	time.AfterFunc(100*time.Millisecond, func() { cancel(reason) })
	if _, err := a.Claim(ctx, []string{"k"}, ClaimOptions{Wait: time.Hour}); !errors.Is(err, reason) {
		t.Errorf("a wait that was ended: %v", err)
	}
}

func seenAt(t testing.TB, d *Database, h *Host) (at time.Time) {
	t.Helper()
	must(t, d.pool.QueryRow(t.Context(), "SELECT seen FROM bulkrevoke.fleet_host WHERE id = $1", h.id).Scan(&at))
	return at
}

// A run that begins right after another one was killed goes on by itself, and not before
// the killed one's lease was over.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	a := joined(t, d, "a")
	first := claim(t, a, ClaimOptions{For: "x.csv"}, "ledger/x", "k", "j")
	must(t, first.Save(t.Context(), map[string][]byte{"k": []byte("count")}))
	a.kill()

	b := joined(t, d, "b")
	second := claim(t, b, ClaimOptions{For: "x.csv"}, "ledger/x", "k")
	silent := time.Duration(number(t, d, `SELECT (extract(epoch FROM c.since - h.seen) * 1e6)::bigint FROM bulkrevoke.fleet_claim c, bulkrevoke.fleet_host h
		WHERE c.key = 'k' AND h.id = $1`, a.id)) * time.Microsecond
	if silent < d.times.dead || silent > 5*d.times.steady {
		t.Errorf("taken over after %s of silence, want %s and not much more than %s", silent, d.times.dead, d.times.steady)
	}
	one := second.Get("k")
	if string(one.Past) != "count" || !one.Unclean || one.Generation <= first.Get("k").Generation || one.Age < one.Ended {
		t.Errorf("claimed %+v", one)
	}
	if least, most := d.times.dead-d.times.lease, silent-d.times.lease/2; one.Ended < least || one.Ended > most {
		t.Errorf("it ended %s ago after %s of silence, want %s to %s", one.Ended, silent, least, most)
	}
	for _, c := range []struct {
		claims *Claims
		keys   []string
		want   error
	}{
		{second, []string{"k"}, nil}, {second, nil, nil},
		{first, []string{"k"}, ErrLost},
		{first, nil, ErrLost},           // its ledger
		{first, []string{"j"}, ErrLost}, // nobody took it, but a is dead
	} {
		if err := check(d, c.claims, c.keys...); !errors.Is(err, c.want) {
			t.Errorf("check of %q: %v, want %v", c.keys, err, c.want)
		}
	}
	if err := first.Release(t.Context(), nil); !errors.Is(err, ErrLost) {
		t.Errorf("a dead host releases: %v", err)
	}
	// It stays dead for those who only come to the other key: there is nothing to wait for.
	third := claim(t, b, ClaimOptions{}, "j")
	if one := third.Get("j"); !one.Unclean || one.Ended < d.times.dead-d.times.lease {
		t.Errorf("claimed %+v", one)
	}
}

// A step of PostgreSQL's clock after a host was seen last neither makes believe that its lease
// ended long ago, nor keeps it alive.
func TestStepOfTheServersClock(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"- interval '1 hour'", "+ interval '1 hour'"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			a := joined(t, d, "a")
			claim(t, a, ClaimOptions{}, "k")
			a.kill()
			execute(t, d, "UPDATE bulkrevoke.fleet_host SET seen = seen "+step+" WHERE id = $1", a.id)
			one := claim(t, joined(t, d, "b"), ClaimOptions{}, "k").Get("k")
			if !one.Unclean || one.Ended > 10*d.times.steady {
				t.Errorf("claimed %+v", one)
			}
		})
	}
}

// A host that comes back after it was declared dead knows it, and may do nothing.
func TestFrozenHostComesBack(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	a, b := joined(t, d, "a"), joined(t, d, "b")
	c := claim(t, a, ClaimOptions{}, "ledger/x", "k")
	must(t, a.May())
	a.freeze()
	until(t, "a is declared dead", func() bool {
		return number(t, d, "SELECT count(*) FROM bulkrevoke.fleet_host WHERE id = $1 AND dead IS NOT NULL", a.id) == 1
	})
	if err := a.May(); err != ErrAway {
		t.Errorf("it may send although it is dead: %v", err)
	}
	if err := check(d, c); !errors.Is(err, ErrLost) {
		t.Errorf("it may write: %v", err)
	}
	a.thaw()
	<-a.Lost()
	if err := a.May(); err != ErrLost {
		t.Errorf("got %v, want ErrLost", err)
	}
	if _, err := a.Claim(t.Context(), []string{"new"}, ClaimOptions{}); !errors.Is(err, ErrLost) {
		t.Errorf("a dead host claims: %v", err)
	}
	must(t, a.Leave(t.Context()))
	claim(t, b, ClaimOptions{}, "k")
	hosts, err := d.Hosts(t.Context())
	must(t, err)
	if len(hosts) != 1 || hosts[0].ID != b.id || hosts[0].Name != "b" || hosts[0].PID != os.Getpid() {
		t.Errorf("hosts %+v", hosts)
	}
}

// What one host believes makes nobody dead whom PostgreSQL has just seen, and a host that
// was not seen itself declares nobody dead.
func TestDeclareDead(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	a, b := joined(t, d, "a"), joined(t, d, "b")
	declare := func() (dead bool) {
		t.Helper()
		must(t, d.changeOnce(t.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
			dead, err = a.declareDead(ctx, tx, b.id)
			return err
		}))
		return dead
	}
	if declare() {
		t.Error("a living host is dead")
	}
	a.freeze()
	b.freeze()
	execute(t, d, "UPDATE bulkrevoke.fleet_host SET seen = seen - interval '1 hour'")
	if declare() {
		t.Error("a silent host declared another one dead")
	}
	execute(t, d, "UPDATE bulkrevoke.fleet_host SET seen = clock_timestamp() WHERE id = $1", a.id)
	for range 2 {
		if !declare() {
			t.Error("a silent host is not dead")
		}
	}
}

// A short silence costs nothing.
func TestShortSilence(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	a := joined(t, d, "a")
	c := claim(t, a, ClaimOptions{}, "ledger/x", "k")
	a.freeze()
	until(t, "the lease is over", func() bool { return a.May() == ErrAway })
	a.thaw()
	until(t, "it may send again", func() bool { return a.May() == nil })
	must(t, check(d, c, "k"))
	must(t, c.Release(t.Context(), nil))
}

func TestReleaseSaysHowItEnded(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	h := joined(t, d, "h")
	keys := []string{"clean", "untouched", "unclean"}
	ends := func() {
		t.Helper()
		must(t, claim(t, h, ClaimOptions{}, keys...).Release(t.Context(), map[string][]byte{"clean": []byte("bye")}, "untouched"))
	}
	ends()
	c := claim(t, h, ClaimOptions{}, keys...)
	for _, want := range []struct {
		key, past string
		unclean   bool
	}{{"clean", "bye", false}, {"untouched", "", false}, {"unclean", "", true}} {
		if one := c.Get(want.key); string(one.Past) != want.past || one.Unclean != want.unclean {
			t.Errorf("%+v, want %+v", one, want)
		}
	}
	must(t, c.Release(t.Context(), nil)) // all unclean
	hourAgo := func() {
		execute(t, d, "UPDATE bulkrevoke.fleet_claim SET ended = ended - interval '1 hour', past_at = past_at - interval '1 hour'")
	}
	hourAgo()
	ends()
	c = claim(t, h, ClaimOptions{}, keys...)
	if one := c.Get("clean"); one.Unclean || one.Age > time.Minute {
		t.Errorf("after a goodbye: %+v", one)
	}
	if one := c.Get("untouched"); !one.Unclean || one.Ended < time.Hour {
		t.Errorf("one who sent nothing changed when it ended: %+v", one)
	}
	if one := c.Get("unclean"); !one.Unclean || one.Ended > time.Minute {
		t.Errorf("it does not count from the latest end: %+v", one)
	}
	must(t, c.Save(t.Context(), map[string][]byte{"unclean": []byte("saved")}))
	hourAgo()
	must(t, h.Leave(t.Context()))
	if err := h.May(); err != ErrLeft {
		t.Errorf("after it has left: %v", err)
	}
	again := joined(t, d, "h")
	for _, one := range claim(t, again, ClaimOptions{}, keys...).All() { // at once: it has left
		if !one.Unclean || one.Ended > time.Minute {
			t.Errorf("after it left: %+v", one)
		}
		if one.Key == "unclean" && (string(one.Past) != "saved" || one.Age < time.Hour) {
			t.Errorf("what was saved: %+v", one)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	places, err := d.Places(t.Context(), []string{"k", "l"})
	place := places["k"]
	if err != nil || place != "" {
		t.Errorf("got %q, %v", place, err)
	}
	must(t, d.SetPlace(t.Context(), "k", "org1"))
	must(t, d.SetPlace(t.Context(), "k", "org1"))
	err = d.SetPlace(t.Context(), "k", "org2")
	if e, ok := errors.AsType[*PlaceError](err); !ok || e.Place != "org1" {
		t.Errorf("got %v", err)
	}
	places, err = d.Places(t.Context(), []string{"k", "l"})
	if place = places["k"]; err != nil || place != "org1" || len(places) != 1 {
		t.Errorf("got %q, %v", place, err)
	}
}

// Whoever may send for a key is the last to have claimed it: over thousands of claims by
// hosts that release, die, and freeze and come back.
func TestNeverTwoHolders(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	const goal, runs = 2000, 8
	var keys []string
	for i := range 20 {
		keys = append(keys, fmt.Sprint("k", i))
	}
	var claims, takenOver, held, deaths atomic.Int64
	var mu sync.Mutex
	holder := make(map[string]*Claims) // the last one to have claimed it
	// send fails the test if the host may send and is not the one to.
	send := func(c *Claims) {
		mu.Lock()
		defer mu.Unlock()
		if c.h.May() != nil {
			return
		}
		for key := range c.claims {
			if holder[key] != c {
				t.Errorf("%s: generation %d may send, and generation %d has claimed it", key, c.generation, holder[key].generation)
			}
		}
	}
	run := func(h *Host, random *rand.Rand) {
		var wanted []string
		for _, i := range random.Perm(len(keys))[:1+random.IntN(3)] {
			wanted = append(wanted, keys[i])
		}
		c, err := h.Claim(context.Background(), wanted, ClaimOptions{})
		if _, ok := errors.AsType[*HeldError](err); ok {
			held.Add(1)
			return
		}
		if err != nil {
			if !errors.Is(err, ErrLost) && !errors.Is(err, ErrLeft) {
				t.Error(err)
			}
			return
		}
		mu.Lock()
		for key, one := range c.claims {
			if before := holder[key]; before != nil && before.generation >= one.Generation {
				// The claim of a host that died may be noted late, but then it may not send.
				if h.May() == nil {
					t.Errorf("%s: generation %d after %d", key, one.Generation, before.generation)
				}
				continue
			}
			holder[key] = c
			if one.Unclean {
				takenOver.Add(1)
			}
		}
		mu.Unlock()
		claims.Add(1)
		for range 1 + random.IntN(3) {
			send(c)
		}
		err = check(d, c, wanted...)
		if err == nil && h.May() == nil {
			past := make(map[string][]byte)
			for _, key := range wanted {
				past[key] = []byte(h.id)
			}
			err = c.Release(context.Background(), past)
		}
		if err != nil && !errors.Is(err, ErrLost) {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for n := range 3 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for claims.Load() < goal || deaths.Load() < 5 {
				h, err := d.Join(context.Background(), fmt.Sprint("host", n))
				if err != nil {
					t.Error(err)
					return
				}
				var tasks sync.WaitGroup
				stop := make(chan struct{})
				for i := range runs {
					seed := random.Uint64()
					tasks.Go(func() {
						random := rand.New(rand.NewPCG(seed, uint64(i)))
						for {
							select {
							case <-stop:
								return
							case <-h.Lost():
								return
							default:
								run(h, random)
							}
						}
					})
				}
				time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
				switch random.IntN(6) {
				case 0: // it dies: what it has is not given back
					h.stop()
					deaths.Add(1)
				case 1: // it freezes for longer than the others wait
					h.freeze()
					time.Sleep(d.times.dead + d.times.beat)
					h.thaw()
					deaths.Add(1)
				}
				close(stop)
				tasks.Wait()
				if random.IntN(4) > 0 {
					h.Leave(context.Background())
				} else {
					h.kill()
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d claims, %d keys taken over, %d times held, %d deaths", claims.Load(), takenOver.Load(), held.Load(), deaths.Load())
	if takenOver.Load() == 0 || held.Load() == 0 {
		t.Error("the test tests too little")
	}
}

// A host that is stopped in the middle of a transaction, or cut off, keeps no lock.
func TestStoppedInATransaction(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	h := joined(t, d, "h")
	must(t, claim(t, h, ClaimOptions{}, "k").Release(t.Context(), nil))
	tx, err := d.pool.Begin(t.Context())
	must(t, err)
	must(t, lockClaims(t.Context(), tx, "WHERE key = 'k'"))
	claim(t, h, ClaimOptions{}, "k")
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("the stopped transaction committed")
	}
}

// A sheet over thousands of accounts claims them in one go.
func TestManyClaims(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	h := joined(t, d, "h")
	var keys []string
	past := make(map[string][]byte)
	for i := range 2000 {
		keys = append(keys, fmt.Sprintf("account %d", i))
		past[keys[i]] = []byte("x")
	}
	c := claim(t, h, ClaimOptions{}, keys...)
	must(t, check(d, c, keys...))
	must(t, c.Save(t.Context(), past))
	must(t, c.Release(t.Context(), past))
	if got := len(claim(t, h, ClaimOptions{}, keys...).All()); got != len(keys) {
		t.Errorf("claimed %d", got)
	}
}

// A release that the database could not be told of is made good: nobody else could ever take
// the keys of a host that lives.
func TestReleaseIsMadeGood(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	a, b := joined(t, d, "a"), joined(t, d, "b")
	first := claim(t, a, ClaimOptions{}, "k")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := first.Release(over, map[string][]byte{"k": []byte("stamps")}); !errors.Is(err, context.Canceled) {
		t.Fatalf("release without time for it: %v", err)
	}
	c := claim(t, b, ClaimOptions{Wait: time.Minute}, "k")
	if one := c.Get("k"); string(one.Past) != "stamps" || one.Unclean {
		t.Errorf("claimed %+v", one)
	}
}

// A host whose heartbeats do not get through, but whose other questions do, learns that others
// have declared it dead.
func TestDeadWithoutAHeartbeatToSaySo(t *testing.T) {
	t.Parallel()
	times := quickTimes()
	times.beat = time.Hour
	d := newDatabase(t)
	d.times = times
	h := joined(t, d, "h")
	until(t, "the only heartbeat", func() bool {
		return number(t, d, "SELECT count(*) FROM bulkrevoke.fleet_host WHERE id = $1 AND seen > joined", h.id) == 1
	})
	execute(t, d, "UPDATE bulkrevoke.fleet_host SET dead = clock_timestamp() WHERE id = $1", h.id)
	<-h.Lost()
}
