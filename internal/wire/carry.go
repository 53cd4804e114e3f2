package wire

import (
	"fmt"
	"time"
)

// read delivers the frames of one connection until it breaks.
func (s *Session) read(c *carrier, frame func(Frame)) error {
	for {
		if !c.in.Buffered() {
			if err := c.conn.SetReadDeadline(time.Now().Add(s.quiet)); err != nil {
				return err
			}
		}
		f, err := c.in.Next()
		if err != nil {
			return err
		}
		switch f.Type {
		case TData:
			inner, fresh, err := s.accept(c, f.Body)
			if err != nil {
				return err
			}
			if fresh {
				frame(inner)
			}
		case TAck:
			if len(f.Body) < 8 {
				return malformed(TAck, "too short")
			}
			s.mu.Lock()
			s.ack(le.Uint64(f.Body))
			s.mu.Unlock()
		case tEnd:
			s.mu.Lock()
			s.end(ErrEnded, false)
			s.mu.Unlock()
			return ErrEnded
		default:
			return fmt.Errorf("%w: %s on a session", ErrMalformed, f.Type)
		}
	}
}

// accept numbers one DATA frame; fresh is false for one seen before.
func (s *Session) accept(c *carrier, body []byte) (inner Frame, fresh bool, err error) {
	if len(body) < 8 {
		return inner, false, malformed(TData, "too short")
	}
	n := le.Uint64(body)
	inner, size, err := ParseFrame(body[8:], MaxFrame)
	if err != nil || size != len(body)-8 {
		return inner, false, malformed(TData, "the frame inside is not whole")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= s.received {
		return inner, false, nil
	}
	if n != s.received+1 {
		return inner, false, malformed(TData, fmt.Sprintf("frame %d came after %d", n, s.received))
	}
	s.received = n
	c.fresh++
	c.freshLen += len(body)
	switch {
	case c.fresh >= ackFrames || c.freshLen >= ackBytes:
		if !c.ackDue {
			c.ackDue = true
			c.kick()
		}
	case c.fresh == 1:
		s.ackLater(c)
	}
	return inner, true, nil
}

// ackLater makes the writer acknowledge soon. Needs mu.
func (s *Session) ackLater(c *carrier) {
	if c.ackTimer != nil {
		c.ackTimer.Reset(ackDelay)
		return
	}
	c.ackTimer = time.AfterFunc(ackDelay, func() {
		s.mu.Lock()
		c.ackDue = true
		s.mu.Unlock()
		c.kick()
	})
}

// write sends what is queued, and acknowledgements, until the connection is
// gone.
func (s *Session) write(c *carrier) {
	broken := true
	defer func() {
		if broken {
			c.close() // the reader notices
		}
	}()
	ping := time.NewTimer(pingEvery)
	defer ping.Stop()
	var ack []byte
	for {
		data, ackTo, over := s.take(c)
		if ackTo > 0 {
			ack = le.AppendUint64(append(ack[:0], 12, 0, 0, 0, uint8(TAck), 0, 0, 0), ackTo-1)
			if _, err := c.conn.Write(ack); err != nil {
				return
			}
		}
		if len(data) > 0 {
			if _, err := c.conn.Write(data); err != nil {
				return
			}
		}
		if over {
			_, err := c.conn.Write([]byte{4, 0, 0, 0, uint8(tEnd), 0, 0, 0})
			if broken = err != nil; !broken {
				time.AfterFunc(closeGrace, c.close) // the other side closes first, when it has read that
			}
			return
		}
		if len(data) > 0 {
			continue
		}
		ping.Reset(pingEvery)
		select {
		case <-c.gone:
			return
		case <-c.wake:
		case <-ping.C:
			s.mu.Lock()
			c.ackDue = true
			s.mu.Unlock()
		}
	}
}

// take hands the writer the next bytes, one more than the number to
// acknowledge (0: none), and whether the session is over.
func (s *Session) take(c *carrier) (data []byte, ackTo uint64, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ackDue {
		c.ackDue, c.fresh, c.freshLen = false, 0, 0
		c.ackSent = s.received
		ackTo = s.received + 1
	}
	for s.at < len(s.chunks) {
		b := s.chunks[s.at].buf
		if s.off < len(b) {
			data = b[s.off:len(b):len(b)]
			s.off = len(b)
			return data, ackTo, false
		}
		if s.at == len(s.chunks)-1 {
			break
		}
		s.at, s.off = s.at+1, 0
	}
	return nil, ackTo, s.err != nil && s.mine
}

// Close implements Link: it sends what is queued, tells the other side that
// the session is over, and waits at most a moment for both.
func (s *Session) Close() error {
	s.mu.Lock()
	s.end(ErrClosed, true)
	up := s.cur
	s.mu.Unlock()
	if up != nil {
		t := time.NewTimer(closeGrace)
		defer t.Stop()
		select {
		case <-up.gone:
		case <-t.C:
			up.close()
		}
	}
	return nil
}
