package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"ray/internal/spec"
)

const (
	opSize  = 1 // answer the size only
	opRange = 2

	requestSize = 1 + spec.ObjectIDSize + 8 + 8
	answerSize  = 1 + 8

	statusOK      = 0
	statusUnknown = 1
	statusRange   = 2

	// rangeTimeout is how long one range may take to leave.
	rangeTimeout = 2 * time.Minute
)

// Source is what a server reads: the object store.
type Source interface {
	// Range gives n bytes at off of an object, cut at its end, until release is
	// called, and the size of the whole object.
	Range(id spec.ObjectID, off, n uint64) (data []byte, size uint64, release func(), err error)
}

// Serve answers requests on conn until the other side closes it, which is no
// error. Closing conn ends it.
func Serve(conn net.Conn, src Source) error {
	var req [requestSize]byte
	for {
		if _, err := io.ReadFull(conn, req[:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("bulk connection: %w", err)
		}
		if err := answer(conn, src, req[:]); err != nil {
			return err
		}
	}
}

func answer(conn net.Conn, src Source, req []byte) error {
	var id spec.ObjectID
	copy(id[:], req[1:])
	off := binary.LittleEndian.Uint64(req[1+spec.ObjectIDSize:])
	n := binary.LittleEndian.Uint64(req[1+spec.ObjectIDSize+8:])
	var head [answerSize]byte
	if req[0] == opSize {
		off, n = 0, 0
	} else if req[0] != opRange {
		return fmt.Errorf("bulk connection: unknown operation %d", req[0])
	}
	data, size, release, err := src.Range(id, off, n)
	if err != nil {
		head[0] = statusUnknown
		return write(conn, head[:])
	}
	defer release()
	binary.LittleEndian.PutUint64(head[1:], size)
	if uint64(len(data)) != n {
		head[0] = statusRange
		return write(conn, head[:])
	}
	// A reader that hangs must not hold the object for ever.
	if err := conn.SetWriteDeadline(time.Now().Add(rangeTimeout)); err != nil {
		return fmt.Errorf("bulk connection: %w", err)
	}
	return write(conn, head[:], data)
}

func write(conn net.Conn, parts ...[]byte) error {
	buffers := net.Buffers(parts)
	if _, err := buffers.WriteTo(conn); err != nil {
		return fmt.Errorf("bulk connection: %w", err)
	}
	return nil
}
