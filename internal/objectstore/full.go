package objectstore

import (
	"fmt"
	"strings"
)

// FullError says that an object does not fit, and what takes the room.
type FullError struct {
	Size, Capacity, Used uint64
	Biggest              []Holding
	Cause                error // of spilling; nil if nothing could be spilled
}

func (e *FullError) Unwrap() error {
	if e.Cause != nil {
		return e.Cause
	}
	return ErrFull
}

func (e *FullError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "an object of %d bytes does not fit into the object store (%d of %d bytes in use)", e.Size, e.Used, e.Capacity)
	if e.Size > e.Capacity {
		b.WriteString("; it is larger than the store: start the node with a larger --object-store-memory")
	} else if e.Cause != nil {
		fmt.Fprintf(&b, "; spilling failed: %v", e.Cause)
	} else {
		b.WriteString("; everything in it is in use: drop references, or start the node with a larger --object-store-memory")
	}
	for _, h := range e.Biggest {
		fmt.Fprintf(&b, "\n  %s %d bytes", h.ID, h.Size)
		switch {
		case h.Spilled:
			b.WriteString(", on disk")
		case !h.Sealed:
			b.WriteString(", being written")
		case h.Pins == 1:
			b.WriteString(", in use by 1 process")
		default:
			fmt.Fprintf(&b, ", in use by %d processes", h.Pins)
		}
	}
	return b.String()
}

func (s *Store) fullError(size uint64, cause error) error {
	st := s.Stats()
	return &FullError{Size: size, Capacity: st.Capacity, Used: st.Used, Biggest: s.List(5), Cause: cause}
}
