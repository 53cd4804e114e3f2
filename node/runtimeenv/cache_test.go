package runtimeenv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func testCache(t *testing.T, dir string, bound int64) *cache {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	c, err := openCache(ctx, &wg, dir, bound)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = c.lock.Close()
	})
	return c
}

// eventually waits for a condition.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come true")
		}
	}
}

// file is a recipe for one file of n bytes.
func file(id string, n int) recipe {
	return recipe{id: id, title: id, make: func(_ context.Context, root string, _ *output) error {
		if err := os.Mkdir(root, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(root, "f"), make([]byte, n), 0o600)
	}}
}

func ids(c *cache) (out []string) {
	found, _ := os.ReadDir(c.dir)
	for _, f := range found {
		if f.IsDir() {
			out = append(out, f.Name())
		}
	}
	return out
}

func TestUnusedThingsGoWhenTheCacheIsFull(t *testing.T) {
	c := testCache(t, t.TempDir(), 2500)
	for _, id := range []string{"a", "b", "c", "d"} {
		if _, err := c.get(t.Context(), file(id, 1000), nil); err != nil {
			t.Fatal(err)
		}
		if id != "a" { // a stays in use
			c.put(id)
		}
	}
	// Removal follows the last build in its goroutine.
	c.wg.Wait()
	if got := strings.Join(ids(c), " "); got != "a d" {
		t.Errorf("left: %s", got)
	}
}

func TestVictimsProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var made []*entry
		for i := range r.IntN(8) {
			made = append(made, &entry{id: fmt.Sprint(i), about: about{Bytes: int64(r.IntN(100))}, uses: r.IntN(2), last: uint64(r.IntN(50))})
		}
		bound := int64(r.IntN(300))
		gone := victims(made, bound)
		var total, idle int64
		var newest uint64
		for _, e := range made {
			total += e.about.Bytes
			if e.uses == 0 {
				idle += e.about.Bytes
			}
		}
		for _, e := range gone {
			if e.uses > 0 || e.last < newest {
				t.Fatalf("removed %+v out of turn", e)
			}
			newest = e.last
			total -= e.about.Bytes
			idle -= e.about.Bytes
		}
		if total > bound && idle > 0 {
			t.Fatalf("%d bytes are left of %d, %d of them unused", total, bound, idle)
		}
	}
}

func TestWhatWasNotFinishedIsNotTakenForWhole(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, "0", "half", "root")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	c := testCache(t, dir, DefaultBound)
	if len(ids(c)) != 0 {
		t.Errorf("left after a crash: %v", ids(c))
	}
	if _, err := c.get(t.Context(), file("whole", 10), nil); err != nil {
		t.Fatal(err)
	}
	c.wg.Wait()
	_ = c.lock.Close()
	// Another process takes over what is whole, and does not make it again.
	c = testCache(t, dir, DefaultBound)
	path, err := c.get(t.Context(), recipe{id: "whole", make: func(context.Context, string, *output) error { return errors.New("made again") }}, nil)
	if err != nil || path != filepath.Join(dir, "0", "whole", "root") {
		t.Error(path, err)
	}
}

func TestTwoProcessesDoNotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	a, b := testCache(t, dir, 1), testCache(t, dir, 1)
	if a.dir == b.dir {
		t.Error(a.dir)
	}
}

func TestFailureLeavesNothingAndIsSharedByAllWhoWait(t *testing.T) {
	c := testCache(t, t.TempDir(), DefaultBound)
	begun, fail := make(chan struct{}), make(chan struct{})
	calls := 0
	bad := recipe{id: "x", title: "x", make: func(_ context.Context, root string, _ *output) error {
		if calls++; calls > 1 {
			return os.Mkdir(root, 0o755)
		}
		_ = os.Mkdir(root, 0o755)
		close(begun)
		<-fail
		return errors.New("broken")
	}}
	errs := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := c.get(t.Context(), bad, nil)
			errs <- err
		}()
	}
	<-begun
	eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.entries["x"].uses == 3
	})
	close(fail)
	for range 3 {
		if err := <-errs; err == nil || err.Error() != "broken" {
			t.Error(err)
		}
	}
	if left := ids(c); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := c.get(t.Context(), bad, nil); err != nil {
		t.Errorf("second try: %v", err)
	}
}

func TestABuildThatNobodyWaitsForIsStopped(t *testing.T) {
	c := testCache(t, t.TempDir(), DefaultBound)
	begun := make(chan struct{}, 2)
	calls := 0
	slow := recipe{id: "x", title: "x", make: func(ctx context.Context, root string, _ *output) error {
		calls++
		if err := os.Mkdir(root, 0o755); err != nil || calls > 1 {
			return err
		}
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-begun
		cancel(errors.New("the job has ended"))
	}()
	if _, err := c.get(ctx, slow, nil); err == nil || !strings.Contains(err.Error(), "the job has ended") {
		t.Error(err)
	}
	// The next asker begins anew, even while the first build is cleaned up.
	path, err := c.get(t.Context(), slow, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
