package ledger

import (
	"errors"
	"strings"
	"testing"
)

func TestPackDamaged(t *testing.T) {
	t.Parallel()
	cells := packCells([]string{"a", "", strings.Repeat("b", 300)})
	for n := range cells {
		_, err := unpackCells(cells[:n])
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("got %v", err)
		}
	}
	_, err := unpackCells(append(cells, 0))
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	_, err = unpackCells([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}
