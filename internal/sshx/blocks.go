package sshx

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A file of which a part has changed is sent as rsync sends it: who has the old
// file tells two sums of each of its blocks, who has the new one looks for those
// blocks at every place and sends what lies between them.

const (
	blockSize = 64 << 10
	// strongSize is how many bytes of a block's SHA-256 are told: the sum of the
	// whole file finds the rest.
	strongSize = 16
	signMagic  = "ray blocks 1\n"
	maybeBits  = 18 // 32 KiB: the nearest cache has room for them
)

// signature tells of the blocks of a file; the last one may be shorter.
type signature struct {
	size   int64
	weak   map[uint32]bool
	maybe  [1 << maybeBits / 64]uint64 // weak sums by some of their bits: most places end here
	strong map[[strongSize]byte]int64  // to the number of a block
	sums   [][strongSize]byte
}

// Sign writes the signature of a file of the given size.
func Sign(w io.Writer, file io.Reader, size int64) error {
	out := bufio.NewWriter(w)
	_, _ = out.WriteString(signMagic) // Flush tells
	_ = binary.Write(out, binary.BigEndian, size)
	block := make([]byte, blockSize)
	for left := size; left > 0; {
		n, err := io.ReadFull(file, block[:min(left, blockSize)])
		if err != nil {
			return fmt.Errorf("the file became shorter while it was read: %w", err)
		}
		left -= int64(n)
		strong := strongOf(block[:n])
		_ = binary.Write(out, binary.BigEndian, weakOf(block[:n]).sum())
		_, _ = out.Write(strong[:])
	}
	return out.Flush()
}

func readSignature(r io.Reader) (*signature, error) {
	in := bufio.NewReader(r)
	magic := make([]byte, len(signMagic))
	s := &signature{weak: map[uint32]bool{}, strong: map[[strongSize]byte]int64{}}
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != signMagic {
		return nil, errors.New("no signature of a file")
	}
	if err := binary.Read(in, binary.BigEndian, &s.size); err != nil || s.size < 0 {
		return nil, errors.New("a signature without a size")
	}
	for at := int64(0); at < s.size; at += blockSize {
		var row struct {
			Weak   uint32
			Strong [strongSize]byte
		}
		if err := binary.Read(in, binary.BigEndian, &row); err != nil {
			return nil, fmt.Errorf("a signature that ends early: %w", err)
		}
		if _, have := s.strong[row.Strong]; !have {
			s.strong[row.Strong] = at / blockSize
		}
		s.weak[row.Weak] = true
		s.maybe[bits(row.Weak)/64] |= 1 << (bits(row.Weak) % 64)
		s.sums = append(s.sums, row.Strong)
	}
	return s, nil
}

func bits(weak uint32) uint32 { return (weak ^ weak>>(32-maybeBits)) & (1<<maybeBits - 1) }

func (s *signature) may(weak uint32) bool { return s.maybe[bits(weak)/64]>>(bits(weak)%64)&1 != 0 }

func (s *signature) met(weak uint32) bool { return s.may(weak) && s.weak[weak] }

// find gives the block that equals these bytes: the one after the last found if
// that is one of several.
func (s *signature) find(b []byte, next int64) (int64, bool) {
	sum := strongOf(b)
	at, ok := s.strong[sum]
	if next < int64(len(s.sums)) && s.sums[next] == sum {
		at = next
	}
	return at, ok && min(s.size-at*blockSize, blockSize) == int64(len(b))
}

// last is the size of the last block.
func (s *signature) last() int { return int(s.size - max(0, int64(len(s.sums))-1)*blockSize) }

// A delta is a row of these, each followed by its numbers as uvarints.
const (
	opLiteral = 'L' // length, bytes
	opCopy    = 'C' // number of the first block, how many
	opEnd     = 'E' // SHA-256 of the new file, 32 bytes
)

// deltaWriter joins copies that follow one another.
type deltaWriter struct {
	*bufio.Writer
	first, count int64
}

func (d *deltaWriter) numbers(op byte, ns ...int64) {
	_ = d.WriteByte(op)
	for _, n := range ns {
		_, _ = d.Write(binary.AppendUvarint(nil, uint64(n)))
	}
}

func (d *deltaWriter) copies() {
	if d.count > 0 {
		d.numbers(opCopy, d.first, d.count)
	}
	d.first, d.count = d.first+d.count, 0 // the next one expected
}

func (d *deltaWriter) literal(b []byte) {
	if len(b) > 0 {
		d.copies()
		d.numbers(opLiteral, int64(len(b)))
		_, _ = d.Write(b)
	}
}

func (d *deltaWriter) block(at int64) {
	if d.count == 0 || at != d.first+d.count {
		d.copies()
		d.first = at
	}
	d.count++
}

// Diff writes what makes the signed file the new one. It fails if the signature
// is none.
func Diff(w io.Writer, file, signed io.Reader) error {
	s, err := readSignature(signed)
	if err != nil {
		return err
	}
	whole := sha256.New()
	win := &window{r: io.TeeReader(file, whole), buf: make([]byte, 16*blockSize)}
	out := &deltaWriter{Writer: bufio.NewWriterSize(w, blockSize)}
	var sum rolling
	fresh := true
	for win.fill(out) {
		b := win.buf[win.at : win.at+blockSize]
		if fresh {
			sum, fresh = weakOf(b), false
		}
		if s.met(sum.sum()) {
			if at, ok := s.find(b, out.first+out.count); ok {
				out.literal(win.taken(blockSize))
				out.block(at)
				fresh = true
				continue
			}
		}
		fresh = !win.roll(&sum, s)
	}
	if win.err != nil {
		return win.err
	}
	rest := win.buf[win.from:win.end]
	if n := s.last(); n > 0 && n < blockSize && n <= win.end-win.at {
		if at, ok := s.find(rest[len(rest)-n:], int64(len(s.sums))-1); ok {
			out.literal(rest[:len(rest)-n])
			out.block(at)
			rest = nil
		}
	}
	out.literal(rest)
	out.copies()
	_ = out.WriteByte(opEnd)
	_, _ = out.Write(whole.Sum(nil))
	return out.Flush()
}

// Patch writes the new file that a delta makes of the old one. It fails if the
// sum of what was written is not the new file's.
func Patch(w io.Writer, old io.ReaderAt, delta io.Reader) error {
	in, whole := bufio.NewReaderSize(delta, blockSize), sha256.New()
	out := io.MultiWriter(w, whole)
	number := func() int64 {
		n, err := binary.ReadUvarint(in)
		if err != nil || n > 1<<62 {
			return -1
		}
		return int64(n)
	}
	for {
		op, err := in.ReadByte()
		if err != nil {
			return fmt.Errorf("the delta ends early: %w", err)
		}
		switch op {
		case opLiteral:
			_, err = io.CopyN(out, in, number())
		case opCopy:
			first, count := number(), number()
			if first < 0 || count < 0 || first+count > 1<<40 {
				return errors.New("the delta names no block of a file")
			}
			_, err = io.Copy(out, io.NewSectionReader(old, first*blockSize, count*blockSize))
		case opEnd:
			want := make([]byte, sha256.Size)
			if _, err := io.ReadFull(in, want); err != nil {
				return fmt.Errorf("the delta ends early: %w", err)
			}
			if !bytes.Equal(want, whole.Sum(nil)) {
				return errors.New("the parts do not make the new file: one of both changed meanwhile")
			}
			return nil
		default:
			return fmt.Errorf("the delta has an operation %q that is unknown", op)
		}
		if err != nil {
			return fmt.Errorf("apply the delta: %w", err)
		}
	}
}

func strongOf(b []byte) (s [strongSize]byte) {
	sum := sha256.Sum256(b)
	copy(s[:], sum[:])
	return s
}
