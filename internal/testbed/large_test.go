package testbed_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
)

// rxBytes is a command that tells what a host has received so far, in bytes.
const rxBytes = `sed 's/:/ /' /proc/net/dev | awk 'NR > 2 && $1 != "lo" {s += $2} END {print s}'`

// largeFile checks that of a large file which has changed only that is sent.
func (b bed) largeFile(file string) {
	b.Helper()
	const size = 20 << 20
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	received := func() int {
		lines := strings.Fields(b.ray("exec", file, rxBytes))
		n, err := strconv.Atoi(lines[len(lines)-1])
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	path := b.home + "/large"
	for again, most := range []int{2 * size, size / 10} {
		data[size/2] = byte(again)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			b.Fatal(err)
		}
		before := received()
		b.ray("rsync-up", file, path, "~/large")
		if n := received() - before; n > most {
			b.Errorf("copy %d of a file took %d bytes", again, n)
		}
	}
	b.ray("rsync-down", file, "~/large", path)
	if back, err := os.ReadFile(path); err != nil || string(back) != string(data) {
		b.Errorf("%d bytes came back of %d: %v", len(back), len(data), err)
	}
}
