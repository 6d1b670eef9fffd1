package ledger

import "testing"

func TestStates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state    State
		word     string
		finished bool
	}{
		{Pending, "not_attempted", false},
		{Sent, "in_doubt", false},
		{Accepted, "accepted", false},
		{Done, "done", true},
		{Unchanged, "unchanged", true},
		{Failed, "failed", true},
		{Uncertain, "in_doubt", false},
		{99, "state(99)", false},
	} {
		if got := tt.state.String(); got != tt.word {
			t.Errorf("state %d: got %q, want %q", uint8(tt.state), got, tt.word)
		}
		if got := tt.state.Finished(); got != tt.finished {
			t.Errorf("state %v: got finished %v, want %v", tt.state, got, tt.finished)
		}
	}
}
