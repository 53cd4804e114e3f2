package scheduler

import (
	"testing"
	"time"

	"ray/internal/spec"
)

// An actor's promise lasts longer than those of later tasks: each ends in its
// own time, or when the node has told of the arrival.
func TestPromisesEndInTheirTime(t *testing.T) {
	start := time.Unix(1000, 0)
	cpu := func(n spec.Fixed) spec.Resources { return spec.Resources{"CPU": n * spec.FixedScale} }
	c := New()
	c.Put(Node{ID: nodeID("a"), Total: cpu(8), Available: cpu(8)})
	c.Update(nodeID("a"), Told{Total: cpu(8), Available: cpu(8)})
	c.Promise(nodeID("a"), Promise{Need: cpu(4), Times: 1, Tasks: true, Until: start.Add(5 * time.Second)})
	c.Promise(nodeID("a"), Promise{Need: cpu(1), Times: 2, Until: start.Add(time.Second)})
	free := func() spec.Fixed { return c.byID[nodeID("a")].Available["CPU"] / spec.FixedScale }

	if next := c.Expire(start); !next.Equal(start.Add(time.Second)) {
		t.Errorf("the next end is at %v", next)
	}
	c.Update(nodeID("a"), Told{Total: cpu(8), Available: cpu(8)})
	if free() != 2 {
		t.Errorf("%d free, want 2", free())
	}
	if next := c.Expire(start.Add(time.Second)); !next.Equal(start.Add(5*time.Second)) || free() != 4 {
		t.Errorf("%d free, the next end is at %v", free(), next)
	}
	c.Update(nodeID("a"), Told{Total: cpu(8), Available: cpu(4), Arrived: 1})
	if free() != 4 {
		t.Errorf("%d free once the node speaks for itself, want 4", free())
	}
}
