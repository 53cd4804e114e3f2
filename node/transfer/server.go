package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"ray/internal/spec"
)

// rangeTimeout is how long one range may take to leave.
const rangeTimeout = 2 * time.Minute

// Source is what a server reads: the object store.
type Source interface {
	// Range gives n bytes at off of an object, cut at its end, until release is
	// called, and the size of the whole object.
	Range(id spec.ObjectID, off, n uint64) (data []byte, size uint64, release func(), err error)
	// Part is Range of an object that is not whole: its bytes are what has been
	// written so far.
	Part(id spec.ObjectID, off, n uint64) (data []byte, size uint64, release func(), err error)
}

// Server gives objects to other nodes, those too that are only arriving here.
// Safe for concurrent use.
type Server struct {
	src     Source
	fetcher *Fetcher
	lines   lines
	sent    atomic.Uint64
}

// NewServer makes the server of a node, whose own fetches are fetcher's.
func NewServer(src Source, fetcher *Fetcher) *Server {
	return &Server{src: src, fetcher: fetcher, lines: lines{of: map[spec.ObjectID]*line{}}}
}

// Sent is how many bytes of objects have gone to other nodes.
func (s *Server) Sent() uint64 { return s.sent.Load() }

// Forget makes the server name a dead node to nobody any more.
func (s *Server) Forget(node spec.NodeID) { s.lines.forget(node) }

// Serve answers requests on conn until the other side closes it, which is no
// error. Closing conn ends it.
func (s *Server) Serve(conn net.Conn) error {
	var req [requestSize]byte
	for {
		if _, err := io.ReadFull(conn, req[:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("bulk connection: %w", err)
		}
		if err := s.answer(conn, req[:]); err != nil {
			return err
		}
	}
}

func (s *Server) answer(conn net.Conn, req []byte) error {
	var id spec.ObjectID
	var from spec.NodeID
	copy(id[:], req[1:])
	off := binary.LittleEndian.Uint64(req[1+idSize:])
	n := binary.LittleEndian.Uint64(req[1+idSize+8:])
	copy(from[:], req[1+idSize+16:])
	var head [answerSize]byte
	direct := off == 1
	if req[0] == opOpen {
		off, n = 0, 0
	} else if req[0] != opRange {
		return fmt.Errorf("bulk connection: unknown operation %d", req[0])
	}
	data, size, release, err := s.read(id, off, n)
	if err != nil {
		head[0] = statusUnknown
		if errors.Is(err, errStalled) {
			head[0] = statusStalled
		}
		return write(conn, head[:])
	}
	defer release()
	binary.LittleEndian.PutUint64(head[1:], size)
	if uint64(len(data)) != n {
		head[0] = statusRange
		return write(conn, head[:])
	}
	if req[0] == opOpen && !direct {
		at := s.lines.join(id, from, size, time.Now())
		copy(head[9:], at[:])
	} else if size >= lineFrom {
		s.lines.sent(id, time.Now())
	}
	// A reader that hangs must not hold the object for ever.
	if err := conn.SetWriteDeadline(time.Now().Add(rangeTimeout)); err != nil {
		return fmt.Errorf("bulk connection: %w", err)
	}
	if err := write(conn, head[:], data); err != nil {
		return err
	}
	s.sent.Add(n)
	return nil
}

// read gives a range of an object that is here, or as soon as it has come.
func (s *Server) read(id spec.ObjectID, off, n uint64) (data []byte, size uint64, release func(), err error) {
	for {
		data, size, release, err = s.src.Range(id, off, n)
		if err == nil {
			return data, size, release, nil
		}
		fl, stalled := s.fetcher.await(id, off, n)
		if stalled {
			return nil, 0, nil, errStalled
		}
		if fl == nil { // it may have become whole just now
			return s.src.Range(id, off, n)
		}
		if data, size, release, err = s.src.Part(id, off, n); err != nil {
			continue
		}
		// Pinned before the flight was seen to go on: these are its bytes.
		if s.fetcher.flies(id, fl) {
			return data, size, release, nil
		}
		release()
	}
}

func write(conn net.Conn, parts ...[]byte) error {
	buffers := net.Buffers(parts)
	if _, err := buffers.WriteTo(conn); err != nil {
		return fmt.Errorf("bulk connection: %w", err)
	}
	return nil
}
