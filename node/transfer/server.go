package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

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
)

// Source is what a server reads: the object store.
type Source interface {
	// View gives an object's bytes until release is called.
	View(id spec.ObjectID) (data []byte, release func(), err error)
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
	data, release, err := src.View(id)
	if err != nil {
		head[0] = statusUnknown
		return write(conn, head[:])
	}
	defer release()
	binary.LittleEndian.PutUint64(head[1:], uint64(len(data)))
	switch {
	case req[0] == opSize:
		return write(conn, head[:])
	case req[0] != opRange:
		return fmt.Errorf("bulk connection: unknown operation %d", req[0])
	case off > uint64(len(data)) || n > uint64(len(data))-off:
		head[0] = statusRange
		return write(conn, head[:])
	}
	return write(conn, head[:], data[off:off+n])
}

func write(conn net.Conn, parts ...[]byte) error {
	buffers := net.Buffers(parts)
	if _, err := buffers.WriteTo(conn); err != nil {
		return fmt.Errorf("bulk connection: %w", err)
	}
	return nil
}
