package head

import (
	"testing"

	"ray/internal/spec"
	"ray/internal/wire"
)

// What actors wait for on a node is no longer free there, and what they hold
// will not be free again.
func TestQueuedActorsAreNoRoom(t *testing.T) {
	beat := wire.Heartbeat{Available: cpus(3), Queue: []wire.QueueRow{
		{Key: "task", Resources: cpus(1), Queued: 9, Running: 2},
		{Key: "actor", Resources: cpus(1), Queued: 2, Running: 1, Actor: true},
	}}
	told := toldBy(&beat)
	if got := told.Available["CPU"]; got != spec.FixedScale {
		t.Errorf("free: %v, want 1 CPU", got)
	}
	if got := told.Turnover["CPU"]; got != 2*spec.FixedScale {
		t.Errorf("turnover: %v, want 2 CPUs", got)
	}
	if got := beat.Available["CPU"]; got != 3*spec.FixedScale {
		t.Errorf("the node's own word has become %v", got)
	}
}
