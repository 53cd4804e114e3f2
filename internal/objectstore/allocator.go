package objectstore

import (
	"slices"
	"sort"
)

// align is the granularity of allocations: a page, so that objects go to disks
// and come from there without a copy. Objects smaller than a few of them
// travel inline and are not here.
const align = blockSize

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// extent is a run of free bytes with one history.
type extent struct {
	off, size uint64
	// client wrote here last and has the pages mapped; 0 means nobody.
	client uint32
	// populated: the pages exist; writing them costs no zeroing.
	populated bool
	// idle counts trims that found it free.
	idle uint8
}

func (e extent) end() uint64 { return e.off + e.size }

func (e extent) joins(o extent) bool {
	return e.end() == o.off && e.client == o.client && e.populated == o.populated
}

// allocator hands out extents of [0, size). It is a pure value: no memory is
// touched. Free extents are kept in order of offset; neighbours with different
// histories stay apart, so that a client gets its own warm pages back, and are
// joined only when a request needs them together.
type allocator struct {
	size uint64
	free []extent
	used uint64
}

func newAllocator(size uint64) *allocator {
	return &allocator{size: size, free: []extent{{size: size}}}
}

// alloc finds n bytes for client. warm tells that the client has all of these
// pages mapped. ok is false if no run of n free bytes exists.
func (a *allocator) alloc(client uint32, n uint64) (off uint64, warm, ok bool) {
	n = roundUp(max(n, 1), align)
	if i := a.pick(client, n); i >= 0 {
		e := a.free[i]
		a.cut(i, n)
		a.used += n
		return e.off, e.client == client && client != 0 && e.populated, true
	}
	i, j := a.run(n)
	if i < 0 {
		return 0, false, false
	}
	off = a.free[i].off
	a.join(i, j)
	a.cut(i, n)
	a.used += n
	return off, false, true
}

// pick chooses one extent of at least n bytes: the client's own warm pages
// first, then pages that exist, then fresh ones; the tightest within a class.
func (a *allocator) pick(client uint32, n uint64) int {
	best, bestClass := -1, 0
	for i, e := range a.free {
		if e.size < n {
			continue
		}
		class := 1
		switch {
		case e.populated && e.client == client && client != 0:
			class = 3
		case e.populated:
			class = 2
		}
		if class > bestClass || class == bestClass && e.size < a.free[best].size {
			best, bestClass = i, class
		}
	}
	return best
}

// run finds neighbours i..j that together have n bytes.
func (a *allocator) run(n uint64) (i, j int) {
	start, sum := 0, uint64(0)
	for k, e := range a.free {
		if k > start && a.free[k-1].end() != e.off {
			start, sum = k, 0
		}
		if sum += e.size; sum >= n {
			return start, k
		}
	}
	return -1, -1
}

func (a *allocator) join(i, j int) {
	e := a.free[i]
	for _, o := range a.free[i+1 : j+1] {
		e.size += o.size
		e.populated = e.populated && o.populated
		e.client = 0
	}
	a.free = slices.Delete(a.free, i+1, j+1)
	a.free[i] = e
}

func (a *allocator) cut(i int, n uint64) {
	if a.free[i].size == n {
		a.free = slices.Delete(a.free, i, i+1)
		return
	}
	a.free[i].off += n
	a.free[i].size -= n
}

// release gives [off, off+n) back; client wrote it last.
func (a *allocator) release(off, n uint64, client uint32) {
	n = roundUp(max(n, 1), align)
	a.used -= n
	a.insert(extent{off: off, size: n, client: client, populated: true})
}

func (a *allocator) insert(e extent) {
	i := sort.Search(len(a.free), func(i int) bool { return a.free[i].off > e.off })
	a.free = slices.Insert(a.free, i, e)
	if i+1 < len(a.free) && a.free[i].joins(a.free[i+1]) {
		a.free[i].size += a.free[i+1].size
		a.free = slices.Delete(a.free, i+1, i+2)
	}
	if i > 0 && a.free[i-1].joins(a.free[i]) {
		a.free[i-1].size += a.free[i].size
		a.free[i-1].idle = 0
		a.free = slices.Delete(a.free, i, i+1)
	}
}

// forgetClient marks a client's pages as nobody's: its mapping is gone.
func (a *allocator) forgetClient(client uint32) {
	for i := range a.free {
		if a.free[i].client == client {
			a.free[i].client = 0
		}
	}
}

// trim names populated extents that were free at the last trim too, as whole
// pages of size page, and marks them fresh: the caller gives them back to the
// system. At most spare populated bytes are left alone.
func (a *allocator) trim(page, spare uint64) (punch []extent) {
	free := append([]extent(nil), a.free...)
	for _, e := range free {
		if !e.populated {
			continue
		}
		if e.idle == 0 || e.size <= spare {
			if e.idle == 0 {
				a.markIdle(e.off)
			} else {
				spare -= e.size
			}
			continue
		}
		whole := extent{off: roundUp(e.off, page)}
		if end := e.end() / page * page; end > whole.off {
			whole.size = end - whole.off
			a.split(whole)
			punch = append(punch, whole)
		}
	}
	return punch
}

func (a *allocator) markIdle(off uint64) {
	for i := range a.free {
		if a.free[i].off == off {
			a.free[i].idle = 1
		}
	}
}

// split makes whole, a part of a free extent, fresh, and leaves what is on both
// sides of it. The extent may have grown since trim read it: what is left of one
// joins a neighbour that has lost its client in the meantime.
func (a *allocator) split(whole extent) {
	i := slices.IndexFunc(a.free, func(o extent) bool { return o.off <= whole.off && whole.end() <= o.end() })
	e := a.free[i]
	a.free = slices.Delete(a.free, i, i+1)
	if whole.off > e.off {
		a.insert(extent{off: e.off, size: whole.off - e.off, client: e.client, populated: true})
	}
	a.insert(whole)
	if e.end() > whole.end() {
		a.insert(extent{off: whole.end(), size: e.end() - whole.end(), client: e.client, populated: true})
	}
}

// fresh is the first fresh extent, for allocating its pages ahead.
func (a *allocator) fresh() (extent, bool) {
	for _, e := range a.free {
		if !e.populated && e.size > 0 {
			return e, true
		}
	}
	return extent{}, false
}
