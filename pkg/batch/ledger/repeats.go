package ledger

import "math/bits"

// repeats finds out which of many hashes come more than once, in little memory: a
// Bloom filter. It misses none, and takes a few that come once (fewer than one in a
// hundred) for repeated, so it is for what costs time at most if it is wrong.
type repeats struct {
	words []uint64
}

// bitsPerHash and bitsSet make 1 % of wrong answers when the filter is full, and a
// fraction of that on the way there.
const (
	bitsPerHash = 10
	bitsSet     = 5
)

// newRepeats returns a filter for n hashes that has seen none.
func newRepeats(n int) *repeats { return &repeats{make([]uint64, n*bitsPerHash/64+64)} }

// again reports whether the hash seems to have come before, and remembers it.
func (r *repeats) again(hash int64) bool {
	h := uint64(hash)
	step := h*0x9e3779b97f4a7c15 | 1
	known := true
	for range bitsSet {
		at, _ := bits.Mul64(h, uint64(len(r.words))*64)
		word, bit := &r.words[at/64], uint64(1)<<(at%64)
		known = known && *word&bit != 0
		*word |= bit
		h += step
	}
	return known
}
