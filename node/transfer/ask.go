package transfer

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"ray/internal/spec"
)

// A request is an operation, an object, offset and number of bytes, and the
// node that asks; an answer a status, the object's size, and a node. All
// numbers are little-endian. The bytes of a range follow its answer.
const (
	opOpen  = 1 // answer the size, and who should be asked; offset 1: you and nobody else
	opRange = 2

	idSize      = spec.ObjectIDSize
	nodeSize    = len(spec.NodeID{})
	requestSize = 1 + idSize + 8 + 8 + nodeSize
	answerSize  = 1 + 8 + nodeSize

	statusOK      = 0
	statusUnknown = 1
	statusRange   = 2
	statusStalled = 3
)

// open asks node for the size of an object, and whom to ask for its bytes;
// zero: node itself.
func (f *Fetcher) open(ctx context.Context, node spec.NodeID, id spec.ObjectID, direct bool) (size uint64, other spec.NodeID, err error) {
	off := uint64(0)
	if direct {
		off = 1
	}
	err = f.with(ctx, node, func(conn net.Conn) error {
		if err := f.ask(conn, opOpen, id, off, nil); err != nil {
			return err
		}
		size, other, err = readAnswer(conn, id)
		return err
	})
	return size, other, err
}

// ask sends one request; dst is where its bytes will go.
func (f *Fetcher) ask(conn net.Conn, op byte, id spec.ObjectID, off uint64, dst []byte) error {
	req := make([]byte, 0, requestSize)
	req = append(append(req, op), id[:]...)
	req = binary.LittleEndian.AppendUint64(req, off)
	req = binary.LittleEndian.AppendUint64(req, uint64(len(dst)))
	if _, err := conn.Write(append(req, f.self[:]...)); err != nil {
		return fmt.Errorf("fetch %s: %w", id, err)
	}
	return nil
}

func readRange(conn net.Conn, id spec.ObjectID, dst []byte) error {
	if _, _, err := readAnswer(conn, id); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, dst); err != nil {
		return fmt.Errorf("fetch %s: %w", id, err)
	}
	return nil
}

func readAnswer(conn net.Conn, id spec.ObjectID) (size uint64, other spec.NodeID, err error) {
	var head [answerSize]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, other, fmt.Errorf("fetch %s: %w", id, err)
	}
	copy(other[:], head[9:])
	switch head[0] {
	case statusOK:
		return binary.LittleEndian.Uint64(head[1:]), other, nil
	case statusUnknown:
		return 0, other, fmt.Errorf("fetch %s: %w", id, ErrUnknown)
	case statusStalled:
		return 0, other, fmt.Errorf("fetch %s: %w", id, errStalled)
	}
	return 0, other, fmt.Errorf("fetch %s: the source has another size (status %d)", id, head[0])
}
