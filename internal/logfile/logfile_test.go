package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func read(t interface{ Fatal(...any) }, name string, offset int64) (text []byte, v *View) {
	v, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	text, err = io.ReadAll(io.NewSectionReader(v, offset, max(0, v.End-offset)))
	if err != nil {
		t.Fatal(err)
	}
	return text, v
}

func TestALogIsBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	w := New(name, Limits{100, 2})
	defer w.Close()
	for i := range 100 {
		if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(name + "*")
	if len(files) != 3 {
		t.Errorf("files %v", files)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if len(text) > 100 || !strings.HasPrefix(string(text), "line ") || !strings.HasSuffix(string(text), "\n") {
			t.Errorf("%s: %q", file, text)
		}
	}
	if err := Remove(name); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(name)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := Remove(name); err != nil {
		t.Error("to remove nothing is an error:", err)
	}
}

// What is read at an offset is what was written there, whatever has moved, or
// the reader learns how much is gone.
func TestOffsetsStayTheSame(t *testing.T) {
	dir := t.TempDir()
	count := 0
	rapid.Check(t, func(t *rapid.T) {
		count++
		name := filepath.Join(dir, fmt.Sprint(count))
		limits := Limits{rapid.Int64Range(0, 60).Draw(t, "bytes"), rapid.IntRange(0, 3).Draw(t, "keep")}
		w := New(name, limits)
		defer w.Close()
		var all []byte
		for range rapid.IntRange(1, 30).Draw(t, "writes") {
			b := []byte(rapid.StringMatching(`[a-z\n]{1,40}`).Draw(t, "text"))
			all = append(all, b...)
			if n, err := w.Write(b); n != len(b) || err != nil {
				t.Fatal(n, err)
			}
			if rapid.Bool().Draw(t, "restart") {
				w.Close()
				w = New(name, limits)
			}
			offset := rapid.Int64Range(0, int64(len(all))).Draw(t, "offset")
			text, v := read(t, name, offset)
			if v.End != int64(len(all)) || limits.Bytes == 0 && v.Start != 0 {
				t.Fatalf("from %d to %d, written %d", v.Start, v.End, len(all))
			}
			if offset >= v.Start && !bytes.Equal(text, all[offset:]) {
				t.Fatalf("at %d: %q, not %q", offset, text, all[offset:])
			}
		}
	})
}

func TestAFollowerMissesNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	const lines = 3000
	var writing sync.WaitGroup
	done := make(chan struct{})
	writing.Go(func() {
		defer close(done)
		w := New(name, Limits{200, 1000}) // the follower may be slow: nothing is dropped
		defer w.Close()
		for i := range lines {
			_, _ = fmt.Fprintf(w, "line %d\n", i)
		}
	})
	var got []byte
	for ended := false; ; {
		select {
		case <-done:
			ended = true
		default:
		}
		v, err := Open(name)
		if err == nil {
			b := make([]byte, 1000)
			n, _ := v.ReadAt(b, int64(len(got)))
			v.Close()
			got = append(got, b[:n]...)
			if n > 0 {
				continue
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if ended {
			break
		}
	}
	writing.Wait()
	var want []byte
	for i := range lines {
		want = fmt.Appendf(want, "line %d\n", i)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, not %d", len(got), len(want))
	}
}

func TestLinesStayWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	w := New(name, Limits{10, 9})
	defer w.Close()
	for _, b := range []string{"ab", "cdefghijklm", "nop\nx\n", "yz\n"} {
		_, _ = io.WriteString(w, b)
	}
	for file, want := range map[string]string{name + ".1": "abcdefghijklmnop\n", name: "x\nyz\n"} {
		if text, _ := os.ReadFile(file); string(text) != want {
			t.Errorf("%s: %q", filepath.Base(file), text)
		}
	}
}

func TestLimitsOfTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		bytes, keep string
		want        Limits
	}{
		{"", "", Limits{defaultBytes, defaultKeep}},
		{"1000", "2", Limits{1000, 2}},
		{"0", "0", Limits{0, 0}},
		{"many", "-1", Limits{defaultBytes, defaultKeep}},
	} {
		t.Setenv("RAY_ROTATION_MAX_BYTES", c.bytes)
		t.Setenv("RAY_ROTATION_BACKUP_COUNT", c.keep)
		if got := FromEnv(); got != c.want {
			t.Errorf("%q, %q: %+v", c.bytes, c.keep, got)
		}
	}
}

func TestAnOutputOfItsOwn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	std, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer std.Close()
	w := Own(name, std, Limits{20, 1})
	if w == nil {
		t.Fatal("it is its own output")
	}
	defer w.Close()
	for i := range 5 {
		_, _ = fmt.Fprintf(w, "line %d of the log\n", i)
	}
	_, _ = io.WriteString(std, "panic: x\n")
	if text, _ := os.ReadFile(name); string(text) != "line 4 of the log\npanic: x\n" {
		t.Errorf("newest: %q", text)
	}
	other, err := os.Create(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if Own(name, other, Limits{}) != nil {
		t.Error("another file is not its own output")
	}
}
