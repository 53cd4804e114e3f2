package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// ErrClosed is what a closed Out, link, session or peer answers.
var ErrClosed = errors.New("connection closed")

// Out is the sending half of a connection: frames are appended to a buffer by
// any goroutine and leave in order. Flush writes what the socket takes at once
// and leaves the rest to a goroutine of Out's own, so nobody ever waits for a
// slow reader. Close ends that goroutine.
type Out struct {
	conn io.Writer
	raw  syscall.RawConn // nil if the connection has no descriptor of its own (TLS)

	mu      sync.Mutex
	wake    sync.Cond
	buf     []byte // not yet given to the kernel
	spare   []byte // the other buffer of the pair
	writing bool   // the goroutine holds a buffer that is not in buf
	inHand  int    // its size
	closed  bool
	err     error
	done    chan struct{}
}

// NewOut starts the sender of conn. The caller closes Out first and conn after.
func NewOut(conn net.Conn) *Out {
	o := &Out{conn: conn, done: make(chan struct{})}
	o.wake.L = &o.mu
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			o.raw = raw
		}
	}
	go o.run()
	return o
}

// Append lets f append whole frames to the buffer. They leave with the next
// Flush. f runs under Out's lock and must not block or call Out.
func (o *Out) Append(f func(b []byte) []byte) {
	o.mu.Lock()
	if !o.closed && o.err == nil {
		o.buf = f(o.buf)
	}
	o.mu.Unlock()
}

// Write appends the bytes of whole frames. It keeps no reference to b and
// fails only when the connection is gone.
func (o *Out) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.state(); err != nil {
		return 0, err
	}
	o.buf = append(o.buf, b...)
	return len(b), nil
}

// Send is Write and Flush.
func (o *Out) Send(b []byte) error {
	if _, err := o.Write(b); err != nil {
		return err
	}
	return o.Flush()
}

// Flush starts sending what was appended. It never blocks on the other side.
func (o *Out) Flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.state(); err != nil || len(o.buf) == 0 || o.writing {
		return err
	}
	if o.raw != nil {
		if err := o.tryWrite(); err != nil {
			o.err = err
			return err
		}
	}
	if len(o.buf) > 0 {
		o.wake.Signal()
	}
	return nil
}

// Pending is the bytes appended that the kernel has not taken yet.
func (o *Out) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) + o.inHand
}

// Err is the error that ended the connection's sending half, or nil.
func (o *Out) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *Out) state() error {
	if o.err != nil {
		return o.err
	}
	if o.closed {
		return ErrClosed
	}
	return nil
}

// tryWrite gives the kernel what it takes without waiting. Needs mu.
func (o *Out) tryWrite() error {
	var n int
	var werr error
	err := o.raw.Write(func(fd uintptr) bool {
		for n < len(o.buf) {
			var m int
			m, werr = syscall.Write(int(fd), o.buf[n:])
			if werr == syscall.EINTR {
				continue
			}
			if werr != nil {
				return true
			}
			n += m
		}
		return true // do not wait for the socket to become writable
	})
	if err == nil && werr != nil && werr != syscall.EAGAIN {
		err = werr
	}
	o.drop(n)
	return err
}

// drop takes n written bytes off the front of buf. Needs mu.
func (o *Out) drop(n int) {
	if n == len(o.buf) {
		o.buf = recycle(o.buf)
		return
	}
	if n > 0 {
		o.buf = o.buf[:copy(o.buf, o.buf[n:])]
	}
}

// recycle empties a buffer, and lets a large one go.
func recycle(b []byte) []byte {
	if cap(b) > keepBuffer {
		return nil
	}
	return b[:0]
}

func (o *Out) run() {
	defer close(o.done)
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for len(o.buf) == 0 && !o.closed && o.err == nil {
			o.wake.Wait()
		}
		if o.err != nil || (o.closed && len(o.buf) == 0) {
			return
		}
		b := o.buf
		o.buf, o.spare = o.spare[:0], nil
		o.writing, o.inHand = true, len(b)
		o.mu.Unlock()
		_, err := o.conn.Write(b)
		o.mu.Lock()
		o.writing, o.inHand = false, 0
		o.spare = recycle(b)
		if err != nil && o.err == nil {
			o.err = err
		}
	}
}

// Close sends what is left, for at most grace, and ends the goroutine. The
// connection itself stays the caller's to close.
func (o *Out) Close(grace time.Duration) error {
	o.mu.Lock()
	o.closed = true
	o.wake.Signal()
	o.mu.Unlock()
	if d, ok := o.conn.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(time.Now().Add(grace)) // fails only if the connection is closed already
	}
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
