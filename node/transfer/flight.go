package transfer

import (
	"slices"
	"time"

	"ray/internal/spec"
)

// flight is a fetch in progress: others of the same object wait for it, and
// what has arrived of it can be served to other nodes already. The goroutine
// of the fetch writes it; the Fetcher's lock guards have, left and moved.
type flight struct {
	done    chan struct{} // closed at the end: the rest may be read
	size    uint64
	without []spec.NodeID
	err     error
	refused bool // by the sink

	dst   []byte // nil until there is room
	have  []bool // which ranges have arrived
	moved chan struct{}
}

func newFlight() *flight { return &flight{done: make(chan struct{}), moved: make(chan struct{})} }

// begin sets the memory for the object.
func (fl *flight) begin(dst []byte) {
	if dst == nil {
		dst = []byte{}
	}
	fl.dst, fl.have = dst, make([]bool, (len(dst)+rangeBytes-1)/rangeBytes)
	fl.move()
}

func (fl *flight) move() {
	close(fl.moved)
	fl.moved = make(chan struct{})
}

func (fl *flight) arrived(i int) {
	fl.have[i] = true
	fl.move()
}

func (fl *flight) at(i int) uint64 { return uint64(i) * rangeBytes }

func (fl *flight) part(i int) []byte {
	return fl.dst[i*rangeBytes : min((i+1)*rangeBytes, len(fl.dst))]
}

// missing are the ranges that have not arrived. Only for the fetch itself.
func (fl *flight) missing() (out []int) {
	for i, have := range fl.have {
		if !have {
			out = append(out, i)
		}
	}
	return out
}

// covers tells whether n bytes at off have arrived.
func (fl *flight) covers(off, n uint64) bool {
	if fl.dst == nil || off > fl.size {
		return fl.dst != nil
	}
	end := min(off+n, fl.size)
	if off >= end {
		return true
	}
	return !slices.Contains(fl.have[off/rangeBytes:(end-1)/rangeBytes+1], false)
}

// stallAfter is how long a part is waited for while nothing arrives.
const stallAfter = 5 * time.Second

// await waits until n bytes at off of an object that is being fetched are
// here, and gives the flight; nil if there is none. stalled: nothing arrives.
func (f *Fetcher) await(id spec.ObjectID, off, n uint64) (fl *flight, stalled bool) {
	timer := time.NewTimer(f.stall)
	defer timer.Stop()
	for {
		f.mu.Lock()
		fl := f.flying[id]
		if fl == nil || fl.covers(off, n) {
			f.mu.Unlock()
			return fl, false
		}
		moved := fl.moved
		f.mu.Unlock()
		select {
		case <-moved:
			timer.Reset(f.stall)
		case <-fl.done:
		case <-timer.C:
			return nil, true
		}
	}
}

// flies tells whether a flight goes on.
func (f *Fetcher) flies(id spec.ObjectID, fl *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flying[id] == fl
}
