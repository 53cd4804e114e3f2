package objectstore

import (
	"testing"

	"pgregory.net/rapid"
)

// check proves that free extents are in order, aligned, apart, and that they
// and the live allocations fill the arena without overlap.
func (a *allocator) check(t *rapid.T, live map[uint64]uint64) {
	var free, used uint64
	end := uint64(0)
	for _, e := range a.free {
		if e.size == 0 || e.off%align != 0 || e.size%align != 0 || e.off < end || e.end() > a.size {
			t.Fatalf("bad free extent %+v after %d", e, end)
		}
		for off, n := range live {
			if off < e.end() && e.off < off+n {
				t.Fatalf("free extent %+v overlaps the allocation at %d of %d", e, off, n)
			}
		}
		end = e.end()
		free += e.size
	}
	for _, n := range live {
		used += n
	}
	if free+used != a.size || used != a.used {
		t.Fatalf("free %d + used %d (counted %d) is not %d", free, used, a.used, a.size)
	}
}

func TestAllocatorNeverOverlapsAndLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAllocator(64 << 10)
		live := map[uint64]uint64{}
		owner := map[uint64]uint32{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3, 4:
				client := rapid.Uint32Range(0, 3).Draw(t, "client")
				n := rapid.Uint64Range(0, 9000).Draw(t, "size")
				if off, _, ok := a.alloc(client, n); ok {
					live[off], owner[off] = roundUp(max(n, 1), align), client
				}
			case 8:
				a.forgetClient(rapid.Uint32Range(1, 3).Draw(t, "client"))
			case 9:
				for _, e := range a.trim(4096, 0) {
					if e.off%4096 != 0 || e.size%4096 != 0 {
						t.Fatalf("trim of no whole pages: %+v", e)
					}
				}
			default:
				for off, n := range live {
					a.release(off, n, owner[off])
					delete(live, off)
					break
				}
			}
			a.check(t, live)
		}
		for off, n := range live {
			a.release(off, n, owner[off])
		}
		if _, _, ok := a.alloc(1, a.size); !ok {
			t.Fatal("everything is free, yet the whole arena cannot be had")
		}
	})
}

func TestAllocatorGivesAClientItsWarmPages(t *testing.T) {
	a := newAllocator(1 << 20)
	first, warm, _ := a.alloc(1, 1000)
	if warm {
		t.Fatal("fresh pages are not warm")
	}
	other, _, _ := a.alloc(2, 1000)
	a.release(first, 1000, 1)
	a.release(other, 1000, 2)
	if off, warm, _ := a.alloc(2, 900); off != other || !warm {
		t.Errorf("client 2 got %d warm=%v, want its own %d", off, warm, other)
	}
	if off, warm, _ := a.alloc(1, 900); off != first || !warm {
		t.Errorf("client 1 got %d warm=%v, want its own %d", off, warm, first)
	}
	a.forgetClient(1)
	a.release(first, 900, 1)
	a.forgetClient(1)
	if _, warm, _ := a.alloc(1, 64); warm {
		t.Error("a new client of the same number has nothing mapped")
	}
}

// Neighbours whose clients are gone have one history but are still apart, so
// what trimming leaves of the first joins the second before its turn.
func TestAllocatorTrimsNeighboursOfGoneClients(t *testing.T) {
	const page = 2 * align // so that a page need not be of one extent
	a := newAllocator(4 * page)
	first, _, _ := a.alloc(1, page+align)
	second, _, _ := a.alloc(2, 3*page-align)
	a.release(first, page+align, 1)
	a.release(second, 3*page-align, 2)
	a.forgetClient(1)
	a.forgetClient(2)
	if punched := a.trim(page, 0); len(punched) != 0 {
		t.Fatalf("the first trim gave up %+v, which was free for no whole round", punched)
	}
	var pages uint64
	for _, e := range a.trim(page, 0) {
		pages += e.size / page
	}
	if pages != 3 {
		t.Errorf("%d pages were trimmed, want the 3 that are whole within one extent", pages)
	}
	if _, _, ok := a.alloc(1, a.size); !ok {
		t.Error("everything is free, yet the whole arena cannot be had")
	}
}
