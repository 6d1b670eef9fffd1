package ledger

import (
	"fmt"
	"testing"
)

// What comes again is always noticed, and what does not hardly ever taken for it.
func TestRepeatsMissesNone(t *testing.T) {
	t.Parallel()
	const n = 200_000
	r := newRepeats(n)
	wrong := 0
	for i := range n {
		if r.again(hashParts(fmt.Sprint(i))) {
			wrong++
		}
	}
	if wrong > n/100 {
		t.Errorf("%d of %d hashes were taken for ones that came before", wrong, n)
	}
	for i := range n {
		if !r.again(hashParts(fmt.Sprint(i))) {
			t.Fatalf("hash %d came again and was not noticed", i)
		}
	}
}
