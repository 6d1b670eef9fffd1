package crm_test

import (
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestStates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		state    crm.Status
		word     string
		finished bool
	}{
		{crm.Pending, "not_attempted", false},
		{crm.Sent, "in_doubt", false},
		{crm.Accepted, "accepted", false},
		{crm.Done, "done", true},
		{crm.Unchanged, "unchanged", true},
		{crm.Failed, "failed", true},
		{crm.Uncertain, "in_doubt", false},
		{99, "status(99)", false},
	} {
		if got := tt.state.String(); got != tt.word {
			t.Errorf("state %d: got %q, want %q", uint8(tt.state), got, tt.word)
		}
		if got := tt.state.Finished(); got != tt.finished {
			t.Errorf("state %v: got finished %v, want %v", tt.state, got, tt.finished)
		}
	}
}
