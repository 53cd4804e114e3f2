package objectstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

// holder is a client as docs/PROTOCOL.md describes it: it takes the spares that
// it was lent, unless the words of its slot say that they were taken back.
type holder struct {
	s      *Store
	number uint32
	spares []Spare
	count  uint64
}

func (h *holder) slot() int { return int(h.number) }

func (h *holder) id() spec.ObjectID {
	h.count++
	var id spec.ObjectID
	binary.LittleEndian.PutUint32(id[:], h.number)
	binary.LittleEndian.PutUint64(id[4:], h.count)
	return id
}

// take is the first spare that is still the client's.
func (h *holder) take() (Spare, bool) {
	for len(h.spares) > 0 {
		spare := h.spares[0]
		h.spares = h.spares[1:]
		if spare.Number <= uint32(h.s.arena.slot(h.slot(), slotEnded)) {
			continue
		}
		atomic.StoreUint64(h.s.arena.word(h.slot(), slotTaken), uint64(spare.Number))
		if spare.Number > uint32(h.s.arena.slot(h.slot(), slotEnded)) {
			return spare, true
		}
		h.s.Return(h.number, spare.Number)
	}
	return Spare{}, false
}

// put stores an object of size bytes, in a spare if there is one, and calls
// write with its room. It tells whether that was a spare.
func (h *holder) put(size uint64, write func([]byte)) (id spec.ObjectID, spare bool, err error) {
	id = h.id()
	if len(h.spares) > 0 && h.spares[0].Size == roundUp(size, align) {
		if found, ok := h.take(); ok {
			write(h.s.Bytes(found.Offset, size))
			if !h.s.Use(h.number, id, found.Offset, size) {
				return id, true, fmt.Errorf("spare %d is not the client's", found.Number)
			}
			spare = true
		}
	}
	if !spare {
		got := create(h.s, h.number, id, size)
		if got.err != nil {
			return id, false, got.err
		}
		write(h.s.Bytes(got.a.Offset, size))
	}
	if _, err := h.s.Seal(h.number, id, true); err != nil {
		return id, spare, err
	}
	h.spares = append(h.spares, h.s.Lend(h.number, h.slot(), size)...)
	return id, spare, nil
}

func nothing([]byte) {}

func mustPut(t *testing.T, h *holder, size uint64) (spec.ObjectID, bool) {
	t.Helper()
	id, spare, err := h.put(size, nothing)
	if err != nil {
		t.Fatal(err)
	}
	return id, spare
}

const mib = 1 << 20

func TestTheThirdOfOneSizeNeedsNoQuestion(t *testing.T) {
	s := open(t, Config{Capacity: 64 * mib})
	h := &holder{s: s, number: 1}
	for i, want := range []bool{false, false, true, true, true, true, true} {
		id, spare := mustPut(t, h, mib)
		if spare != want {
			t.Errorf("put %d in a spare: %v", i, spare)
		}
		s.Delete(id)
	}
	if st := s.Stats(); st.Used != 0 {
		t.Errorf("%d bytes count as used while there is no object", st.Used)
	}
	if _, spare := mustPut(t, h, 2*mib); spare || s.lent != 0 {
		t.Errorf("an object of another size: in a spare: %v; %d bytes are still lent", spare, s.lent)
	}
}

func TestSparesAreFewAndSmall(t *testing.T) {
	s := open(t, Config{Capacity: 64 * mib})
	for client := range uint32(20) {
		h := &holder{s: s, number: client + 1}
		for range 3 {
			id, _ := mustPut(t, h, mib)
			s.Delete(id)
		}
	}
	if s.lent == 0 || s.lent > 8*mib {
		t.Errorf("%d bytes lent of a store of 64 MiB", s.lent)
	}
	large := &holder{s: s, number: 30}
	for range 3 {
		mustPut(t, large, 17*mib)
	}
	if len(large.spares) > 0 {
		t.Error("room is lent for objects for which a question is cheap")
	}
}

func TestSparesGoBeforeAnythingElse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Capacity: 64 * mib, SpillDirs: []string{dir}, OnEvict: func(ids []spec.ObjectID) { t.Errorf("dropped %v", ids) }})
	put(t, s, 9, id(9), make([]byte, mib), false) // a secondary copy
	h := &holder{s: s, number: 1}
	for range 3 {
		id, _ := mustPut(t, h, mib)
		s.Delete(id)
	}
	if s.lent == 0 {
		t.Fatal("nothing was lent")
	}
	if got := create(s, 2, id(2), 63*mib); got.err != nil {
		t.Fatal(got.err)
	}
	if st := s.Stats(); st.Spilled != 0 || st.Evicted != 0 || st.Used != 64*mib {
		t.Errorf("after an object that takes all: %+v", st)
	}
	if spare, ok := h.take(); ok {
		t.Errorf("spare %d can be taken although its room belongs to an object", spare.Number)
	}
}

func TestASpareThatIsFilledStays(t *testing.T) {
	s := open(t, Config{Capacity: 64 * mib, FullGrace: time.Millisecond})
	h := &holder{s: s, number: 1}
	for range 3 {
		id, _ := mustPut(t, h, mib)
		s.Delete(id)
	}
	spare, ok := h.take()
	if !ok {
		t.Fatal("no spare")
	}
	if got := create(s, 2, id(2), 64*mib); got.err == nil {
		t.Fatal("the room of a spare in use was given to another object")
	}
	if !s.Use(1, id(1), spare.Offset, mib) {
		t.Fatal("the spare is not the client's any more")
	}
	if _, err := s.Seal(1, id(1), true); err != nil {
		t.Fatal(err)
	}
}

func TestSparesOfTheDeadAndTheIdle(t *testing.T) {
	s := open(t, Config{Capacity: 64 * mib})
	h := &holder{s: s, number: 1}
	for range 3 {
		id, _ := mustPut(t, h, mib)
		s.Delete(id)
	}
	if _, ok := h.take(); !ok {
		t.Fatal("no spare")
	}
	s.ReleaseClient(1)
	if s.lent != 0 || s.table.alloc.used != 0 || len(s.borrowers) != 0 {
		t.Errorf("a dead client leaves %d bytes lent, %d used, %d borrowers", s.lent, s.table.alloc.used, len(s.borrowers))
	}
	h = &holder{s: s, number: 2}
	for range 3 {
		id, _ := mustPut(t, h, mib)
		s.Delete(id)
	}
	s.Trim()
	if s.lent == 0 {
		t.Error("the spares of a client at work were taken back")
	}
	s.Trim()
	if s.lent != 0 {
		t.Errorf("an idle client keeps %d bytes", s.lent)
	}
}

// TestNoSpareIsGivenTwice: clients that fill spares, while others need all the
// room there is, never find another's bytes in their object.
func TestNoSpareIsGivenTwice(t *testing.T) {
	s := open(t, Config{Capacity: 16 * mib, FullGrace: time.Minute})
	const size = 256 << 10
	var wg sync.WaitGroup
	var over atomic.Bool
	for client := range 3 {
		wg.Go(func() {
			h := &holder{s: s, number: uint32(client) + 1}
			mark := bytes.Repeat([]byte{byte(client) + 1}, size)
			defer s.ReleaseClient(h.number) // its spares are others' then: all together are bounded
			for used := false; !used || !over.Load(); {
				var room []byte
				id, spare, err := h.put(size, func(b []byte) { room = b; copy(b, mark) })
				if err != nil {
					t.Error(err)
					return
				}
				used = used || spare
				if !bytes.Equal(room, mark) {
					t.Errorf("client %d reads another's bytes", client)
				}
				s.Delete(id)
			}
		})
	}
	h := &holder{s: s, number: 9}
	for range 100 {
		id, _, err := h.put(15*mib, func(b []byte) { clear(b[:8]) })
		if err != nil {
			t.Error(err)
			break
		}
		s.Delete(id)
	}
	over.Store(true)
	wg.Wait()
}

// TestSparesInTheAccounts: whatever clients do, what is used is what objects
// and spares take, and in the end nothing is.
func TestSparesInTheAccounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(Config{Capacity: 4 * mib, FullGrace: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		clients := map[uint32]*holder{}
		var live []spec.ObjectID
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			number := rapid.Uint32Range(1, 3).Draw(t, "client")
			h := clients[number]
			if h == nil {
				s.ClearSlot(int(number))
				h = &holder{s: s, number: number}
				clients[number] = h
			}
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				s.Trim()
			case 1:
				if spare, ok := h.take(); ok {
					s.Return(number, spare.Number)
				}
			case 2:
				s.ReleaseClient(number)
				delete(clients, number)
			case 3:
				if len(live) > 0 {
					s.Delete(live[0])
					live = live[1:]
				}
			default:
				size := rapid.SampledFrom([]uint64{100_000, 100_000, 200_000, mib}).Draw(t, "size")
				if id, _, err := h.put(size, nothing); err == nil {
					live = append(live, id)
				}
			}
			s.mu.Lock()
			var sum, lentBytes uint64
			for _, e := range s.table.objects {
				if e.inArena && e.over == nil {
					sum += roundUp(e.size, align)
				}
			}
			for _, b := range s.borrowers {
				for _, l := range b.spares {
					lentBytes += l.size
				}
			}
			used, all := s.table.alloc.used, s.lent
			s.mu.Unlock()
			if lentBytes != all || sum+lentBytes != used {
				t.Fatalf("objects take %d, spares %d (noted: %d), used are %d", sum, lentBytes, all, used)
			}
		}
		s.Delete(live...)
		for number := range clients {
			s.ReleaseClient(number)
		}
		if s.table.alloc.used != 0 || s.lent != 0 {
			t.Fatalf("in the end %d bytes are used and %d lent", s.table.alloc.used, s.lent)
		}
	})
}
