package objectstore

import (
	"cmp"
	"slices"

	"ray/internal/spec"
)

// entry is one object of the table.
type entry struct {
	id      spec.ObjectID
	off     uint64
	size    uint64
	creator uint32
	sealed  bool
	primary bool     // must not be dropped, only spilled
	gone    bool     // deleted; bytes stay until the last pin goes
	place   *place   // on a volume; nil if never spilled
	inArena bool     // it has memory: in the arena, or at over
	busy    bool     // being spilled or restored
	stays   bool     // busy, but to stay in memory when it is on disk
	waiters []waiter // while it is restored
	over    *region  // its place if it is not in the arena
	pins    map[uint32]int
	used    uint64 // table clock of the last use, for eviction
}

// waiter wants a pin of an object that is being restored.
type waiter struct {
	client uint32
	done   func(offset, size uint64, err error)
}

func (e *entry) pinned() bool { return len(e.pins) > 0 }

// table is what the store knows of its objects; pure bookkeeping.
type table struct {
	alloc   *allocator
	objects map[spec.ObjectID]*entry
	zombies map[*entry]bool // gone, still pinned
	clients map[uint32]map[*entry]bool
	clock   uint64
	spilled uint64 // bytes on disk
	inside  int    // objects that have memory
	// freeOver gives the place of an object outside the arena back.
	freeOver func(*region)
}

func newTable(size uint64) *table {
	return &table{
		alloc:   newAllocator(size),
		objects: map[spec.ObjectID]*entry{},
		zombies: map[*entry]bool{},
		clients: map[uint32]map[*entry]bool{},
	}
}

func (t *table) touch(e *entry) { t.clock++; e.used = t.clock }

// note remembers that a client has something to do with e.
func (t *table) note(client uint32, e *entry) {
	set := t.clients[client]
	if set == nil {
		set = map[*entry]bool{}
		t.clients[client] = set
	}
	set[e] = true
}

// create allocates; ok is false if there is no room.
func (t *table) create(client uint32, id spec.ObjectID, size uint64) (e *entry, warm, ok bool) {
	off, warm, ok := t.alloc.alloc(client, size)
	if !ok {
		return nil, false, false
	}
	e = &entry{id: id, off: off, size: size, creator: client, inArena: true}
	t.add(e)
	return e, warm, true
}

// createAt makes an object outside the arena.
func (t *table) createAt(client uint32, id spec.ObjectID, size uint64, at *region) *entry {
	e := &entry{id: id, size: size, creator: client, inArena: true, over: at}
	t.add(e)
	return e
}

func (t *table) add(e *entry) {
	t.inside++
	t.objects[e.id] = e
	t.note(e.creator, e)
	t.touch(e)
}

// giveBack frees the memory of e.
func (t *table) giveBack(e *entry) {
	if e.over == nil {
		t.alloc.release(e.off, e.size, e.creator)
		return
	}
	t.freeOver(e.over)
	e.over = nil
}

// makeRoom gives a spilled object memory again, without its bytes.
func (t *table) makeRoom(e *entry) bool {
	off, _, ok := t.alloc.alloc(0, e.size)
	if ok {
		e.off, e.creator = off, 0
	}
	return ok
}

func (t *table) pin(client uint32, e *entry) {
	if e.pins == nil {
		e.pins = map[uint32]int{}
	}
	e.pins[client]++
	t.note(client, e)
	t.touch(e)
}

// unpin takes n pins of a client back; a deleted object goes with its last pin.
func (t *table) unpin(client uint32, e *entry, n int) {
	had := e.pins[client]
	if had == 0 {
		return
	}
	if n >= had {
		delete(e.pins, client)
		if e.sealed || e.creator != client {
			delete(t.clients[client], e)
		}
	} else {
		e.pins[client] = had - n
	}
	if e.gone && !e.pinned() && !e.busy {
		t.drop(e)
	}
}

// drop frees the bytes of e in the arena and forgets it if it is gone.
func (t *table) drop(e *entry) {
	if e.inArena {
		t.giveBack(e)
		e.inArena = false
		t.inside--
	}
	if e.gone {
		delete(t.zombies, e)
		if set := t.clients[e.creator]; set != nil {
			delete(set, e)
		}
	}
}

// remove deletes the object id; its bytes go now or with their last pin. It
// returns the place on a volume that is not needed any more, if any.
func (t *table) remove(e *entry) (p *place) {
	if e.gone {
		return nil
	}
	e.gone = true
	if t.objects[e.id] == e {
		delete(t.objects, e.id)
	}
	if e.place != nil {
		p, e.place = e.place, nil
		t.spilled -= e.size
	}
	if e.pinned() || e.busy {
		t.zombies[e] = true
	} else {
		t.drop(e)
	}
	return p
}

// releaseClient gives back all pins and unsealed objects of a client. The ids
// of the unsealed ones are returned.
func (t *table) releaseClient(client uint32) (aborted []spec.ObjectID) {
	for e := range t.clients[client] {
		if !e.sealed && e.creator == client && !e.gone {
			aborted = append(aborted, e.id)
			delete(e.pins, client)
			t.remove(e)
			continue
		}
		if n := e.pins[client]; n > 0 {
			t.unpin(client, e, n)
		}
	}
	delete(t.clients, client)
	t.alloc.forgetClient(client)
	return aborted
}

// victims lists objects that can make room for need bytes, least recently used
// first: secondary copies if primary is false (they are dropped), else primary
// copies (they are spilled, or dropped if they have been spilled before).
func (t *table) victims(primary bool, need uint64) []*entry {
	var all []*entry
	for _, e := range t.objects {
		if e.sealed && e.inArena && e.over == nil && !e.pinned() && !e.busy && e.primary == primary {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.used, b.used) })
	var sum uint64
	for i, e := range all {
		if sum += roundUp(e.size, align); sum >= need {
			return all[:i+1]
		}
	}
	return all
}
