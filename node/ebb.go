package node

import (
	"runtime/debug"

	"ray/node/owner"
)

// A flood of tasks leaves maps that never shrink, and a heap that the runtime
// gives back only over minutes.
const (
	floodSize  = 10_000 // objects and tasks
	ebbShare   = 4      // the flood is over when a quarter of it is left
	connWeight = 100    // a connection costs about as much as so many of them
)

// ebb notices the end of a flood, and gives its memory back to the system. It
// is called now and then, not under the lock.
func (d *daemon) ebb() {
	over := false
	d.locked(func() {
		n := d.own.Size() + connWeight*len(d.clients)
		switch {
		case n > d.flood:
			d.flood = n
		case d.flood >= floodSize && n <= d.flood/ebbShare:
			d.flood, over = n, true
			d.own.Shrink()
			d.runs = owner.Shrunk(d.runs)
		}
	})
	if over {
		debug.FreeOSMemory()
	}
}
