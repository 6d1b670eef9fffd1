package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
)

// dice are random numbers from a seed, for several goroutines.
type dice struct {
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

// newDice returns the dice of a seed; each stream of a seed has numbers of its own.
func newDice(seed, stream uint64) *dice {
	return &dice{rng: rand.New(rand.NewPCG(seed, stream))}
}

// IntN returns a number from 0 to n-1.
func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// one says yes once in n times.
func (d *dice) one(n int) bool { return d.IntN(n) == 0 }

// Rand returns a source of its own, drawn from these dice.
func (d *dice) Rand() *rand.Rand {
	d.mu.Lock()
	defer d.mu.Unlock()
	return rand.New(rand.NewPCG(d.rng.Uint64(), d.rng.Uint64()))
}

// pick returns one of the choices.
func pick[T any](d *dice, choices ...T) T { return choices[d.IntN(len(choices))] }

// testSeed returns the seed of a campaign: that of BULKREVOKE_TEST_SEED, or a new
// one. It is logged, and if the test fails, so is how to repeat it.
func testSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64() >> 16
	if text := os.Getenv("BULKREVOKE_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("BULKREVOKE_TEST_SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	repeatBy(t, fmt.Sprintf("BULKREVOKE_TEST_SEED=%d", seed))
	return seed
}

// repeatBy makes a test that fails tell the command line that repeats it, in the
// given environment.
func repeatBy(t *testing.T, env string) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat it with: %s go test ./cmd/bulkrevoke -count=1 -run '^%s$'", env, t.Name())
		}
	})
}

func (d *dice) shuffle(n int, swap func(i, j int)) { d.Rand().Shuffle(n, swap) }
