package sshx

import (
	"errors"
	"io"
)

// window goes over a file: [from, at) has matched nothing, a block is looked
// for at at.
type window struct {
	r             io.Reader
	buf           []byte
	from, at, end int
	eof           bool
	err           error
}

// roll goes on to the next place that may be a block's, by one byte at least. It
// is false where the byte behind the block is not read yet: the sum is then void.
func (w *window) roll(sum *rolling, s *signature) bool {
	now, out, in := *sum, w.buf[w.at:w.end-blockSize], w.buf[w.at+blockSize:w.end]
	for i := range out {
		now.roll(out[i], in[i])
		if s.may(now.sum()) {
			*sum = now
			w.at += i + 1
			return true
		}
	}
	w.at += len(out) + 1
	return false
}

// fill makes sure that a block is at hand, and tells whether one is left. What
// has matched nothing goes out when room is needed.
func (w *window) fill(out *deltaWriter) bool {
	for w.end-w.at < blockSize && !w.eof {
		if w.end == len(w.buf) {
			out.literal(w.buf[w.from:w.at])
			w.end = copy(w.buf, w.buf[w.at:w.end])
			w.from, w.at = 0, 0
		}
		n, err := w.r.Read(w.buf[w.end:])
		w.end += n
		switch {
		case errors.Is(err, io.EOF):
			w.eof = true
		case err != nil:
			w.eof, w.err = true, err
			return false
		}
	}
	return w.end-w.at >= blockSize
}

// taken gives what has matched nothing before the block that did, and goes on
// behind that.
func (w *window) taken(n int) []byte {
	b := w.buf[w.from:w.at]
	w.at += n
	w.from = w.at
	return b
}

// rolling is a sum of a block that can go on by a byte: rsync's, of two parts
// modulo 2^16.
type rolling struct{ a, b, n uint32 }

func weakOf(block []byte) rolling {
	r := rolling{n: uint32(len(block))}
	for _, c := range block {
		r.a += uint32(c)
		r.b += r.a
	}
	return r
}

func (r *rolling) roll(out, in byte) {
	r.a += uint32(in) - uint32(out)
	r.b += r.a - r.n*uint32(out)
}

func (r rolling) sum() uint32 { return r.a&0xffff | r.b<<16 }
