package sshx

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// bytesOf are bytes that no block has twice by chance.
func bytesOf(seed uint64, n int) []byte {
	c := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	out := make([]byte, n)
	_, _ = c.Read(out)
	return out
}

// delta gives the delta from old to changed, after a check that it makes changed.
func delta(t interface{ Fatal(...any) }, old, changed []byte) []byte {
	var sign, diff, made bytes.Buffer
	if err := Sign(&sign, bytes.NewReader(old), int64(len(old))); err != nil {
		t.Fatal(err)
	}
	if err := Diff(&diff, bytes.NewReader(changed), &sign); err != nil {
		t.Fatal(err)
	}
	if err := Patch(&made, bytes.NewReader(old), bytes.NewReader(diff.Bytes())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made.Bytes(), changed) {
		t.Fatal("the delta makes another file")
	}
	return diff.Bytes()
}

// What is sent is what changed, and a block about each place of a change.
func TestDelta(t *testing.T) {
	const size = 3<<20 + 777
	old, extra := bytesOf(1, size), bytesOf(2, 1000)
	zeros := make([]byte, size)
	for name, c := range map[string]struct {
		old, changed []byte
		most         int
	}{
		"nothing":          {old, old, 100},
		"a byte":           {old, slices.Concat(old[:size/2], []byte{old[size/2] + 1}, old[size/2+1:]), blockSize + 200},
		"put in front":     {old, slices.Concat(extra, old), len(extra) + 200},
		"put in":           {old, slices.Concat(old[:size/3], extra, old[size/3:]), blockSize + len(extra) + 300},
		"taken out":        {old, slices.Concat(old[:1000], old[2000:]), blockSize + 300},
		"appended":         {old, slices.Concat(old, extra), blockSize + len(extra) + 200},
		"appended evenly":  {old[:4*blockSize], slices.Concat(old[:4*blockSize], extra), len(extra) + 200},
		"shorter":          {old, old[:size-1], blockSize + 200},
		"halves exchanged": {old, slices.Concat(old[size/2:], old[:size/2]), 2*blockSize + 300},
		"zeros":            {zeros, slices.Concat(zeros, zeros), 2*blockSize + 300},
		"another":          {old, bytesOf(3, size), size + 1000},
		"from nothing":     {nil, extra, len(extra) + 100},
		"to nothing":       {old, nil, 100},
	} {
		if got := len(delta(t, c.old, c.changed)); got > c.most {
			t.Errorf("%s: %d bytes are sent, want at most %d", name, got, c.most)
		}
	}
}

// Any two files: the delta makes the second of the first.
func TestDeltaOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) []byte {
			var out []byte
			for range rapid.IntRange(0, 6).Draw(t, label) {
				n := rapid.SampledFrom([]int{1, 100, blockSize - 1, blockSize, blockSize + 1, 3 * blockSize}).Draw(t, "size")
				out = append(out, bytesOf(rapid.Uint64Range(0, 2).Draw(t, "piece"), n)...)
			}
			return out
		}
		delta(t, draw("old"), draw("new"))
	})
}

// A file that changed after it was signed is found out, and so is a delta that
// was cut or is none.
func TestPatchRefuses(t *testing.T) {
	old := bytesOf(1, 3*blockSize)
	diff := delta(t, old, slices.Concat(old, []byte("more")))
	other := slices.Clone(old)
	other[blockSize]++
	if err := Patch(new(bytes.Buffer), bytes.NewReader(other), bytes.NewReader(diff)); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
		t.Error(err)
	}
	for cut := range len(diff) {
		if err := Patch(new(bytes.Buffer), bytes.NewReader(old), bytes.NewReader(diff[:cut])); err == nil {
			t.Fatalf("%d of %d bytes are enough", cut, len(diff))
		}
	}
	if err := Diff(new(bytes.Buffer), bytes.NewReader(old), strings.NewReader("Usage: ray [OPTIONS]")); err == nil {
		t.Error("a usage message is taken for a signature")
	}
}

func BenchmarkDiff(b *testing.B) {
	const size = 64 << 20
	old := bytesOf(1, size)
	var sign bytes.Buffer
	if err := Sign(&sign, bytes.NewReader(old), size); err != nil {
		b.Fatal(err)
	}
	for name, file := range map[string][]byte{"same": old, "other": bytesOf(2, size)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if err := Diff(new(bytes.Buffer), bytes.NewReader(file), bytes.NewReader(sign.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
