package sandbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWindowAdmits(t *testing.T) {
	t.Parallel()
	const second = 1000
	tests := []struct {
		name string
		w    window
		at   []int // milliseconds since the epoch
		want []bool
	}{
		{"sliding, full", window{limit: 2}, []int{0, 0, 0}, []bool{true, true, false}},
		{"sliding, just inside", window{limit: 2}, []int{0, second, 5*second - 1}, []bool{true, true, false}},
		{"sliding, just outside", window{limit: 2}, []int{0, second, 5 * second}, []bool{true, true, true}},
		{"sliding, second slot comes back later", window{limit: 2}, []int{0, second, 5 * second, 6*second - 1, 6 * second}, []bool{true, true, true, false, true}},
		{"sliding, refused calls do not count", window{limit: 1}, []int{0, 4 * second, 5 * second}, []bool{true, false, true}},
		{"fixed, at the edge", window{limit: 2, fixed: true}, []int{4998, 4999, 5000, 5001, 5002}, []bool{true, true, true, true, false}},
		{"fixed, full until the edge", window{limit: 1, fixed: true}, []int{0, 4999, 5000}, []bool{true, false, true}},
		{"no limit", window{limit: -1}, []int{0, 0, 0, 0}, []bool{true, true, true, true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.w.length = 5 * time.Second
			var got []bool
			for _, ms := range tt.at {
				got = append(got, tt.w.admit(time.UnixMilli(int64(ms))))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("admitted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMostInWindow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		at   []int // seconds
		w    time.Duration
		want int
	}{
		{"none", nil, 5 * time.Second, 0},
		{"one", []int{7}, 5 * time.Second, 1},
		{"at once", []int{1, 1, 1}, 5 * time.Second, 3},
		{"half-open", []int{0, 5, 10}, 5 * time.Second, 1},
		{"one nanosecond more", []int{0, 5, 10}, 5*time.Second + 1, 2},
		{"across a fixed edge", []int{0, 3, 4, 6, 7, 20}, 5 * time.Second, 4},
		{"any order", []int{20, 7, 3, 6, 0, 4}, 5 * time.Second, 4},
		{"all", []int{1, 2, 3}, time.Hour, 3},
		{"no length", []int{1, 1}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var arrivals []Arrival
			for _, s := range tt.at {
				arrivals = append(arrivals, Arrival{At: time.Unix(int64(s), 0)})
			}
			if got := MostInWindow(arrivals, tt.w); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}
