package objectstore

import (
	"encoding/binary"
	"testing"

	"ray/internal/spec"
)

// BenchmarkLife is one object's way through a store that holds 10,000 others
// with gaps between them.
func BenchmarkLife(b *testing.B) {
	s, err := New(Config{Capacity: 8 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	name := func(i int) (id spec.ObjectID) { binary.LittleEndian.PutUint64(id[:], uint64(i)); return id }
	life := func(i int, size uint64) {
		s.Create(1, name(i), size, func(_ Alloc, err error) {
			if err != nil {
				b.Fatal(err)
			}
		})
		if _, err := s.Seal(1, name(i), true); err != nil {
			b.Fatal(err)
		}
	}
	const others = 20000
	for i := range others {
		life(i, 150<<10)
	}
	for i := 0; i < others; i += 2 {
		s.Delete(name(i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		life(others+i, 120<<10)
		s.Get(2, name(others+i), func(_, _ uint64, err error) {})
		s.Unpin(2, name(others+i), 1)
		s.Delete(name(others + i))
	}
}
