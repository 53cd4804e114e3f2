package runtimeenv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// cache keeps what was made, each thing in a directory of its own:
//
//	<dir>/<id>/root           the content
//	<dir>/<id>/complete.json  written last: without it the content is not whole
//
// Directories of one cache belong to one process; it holds a lock on dir.
type cache struct {
	dir   string
	bound int64 // bytes
	ctx   context.Context
	wg    *sync.WaitGroup
	lock  *os.File

	mu       sync.Mutex
	entries  map[string]*entry
	stopping map[string]*entry // builds that were cancelled and have not ended
	failures []failed          // the latest, oldest first
	clock    uint64            // counts uses: larger is later
}

// entry is one thing of the cache, in the making or made.
type entry struct {
	id    string
	about about
	made  bool
	uses  int    // holders, and askers that wait
	last  uint64 // clock at the last use

	done    chan struct{} // closed when made or failed
	err     error
	cancel  context.CancelFunc
	stopped bool
	since   time.Time
	output  *output // while it is being made
}

// about is what complete.json holds.
type about struct {
	Title  string `json:"title"`
	Bytes  int64  `json:"bytes"`
	MadeMS int64  `json:"made_ms"`
}

const marker = "complete.json"

// openCache takes the first directory under root that no other process has,
// removes what was left unfinished in it and keeps the rest.
func openCache(ctx context.Context, wg *sync.WaitGroup, root string, bound int64) (*cache, error) {
	c := &cache{bound: bound, ctx: ctx, wg: wg, entries: map[string]*entry{}, stopping: map[string]*entry{}}
	for n := 0; c.lock == nil; n++ {
		c.dir = filepath.Join(root, fmt.Sprint(n))
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			c.lock = f
			break
		}
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", c.dir, err)
		}
	}
	return c, c.adopt()
}

func (c *cache) adopt() error {
	found, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, d := range found {
		if !d.IsDir() {
			continue
		}
		path := filepath.Join(c.dir, d.Name())
		var a about
		text, err := os.ReadFile(filepath.Join(path, marker))
		if err != nil || json.Unmarshal(text, &a) != nil {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			continue
		}
		e := &entry{id: d.Name(), about: a, made: true, done: make(chan struct{})}
		close(e.done)
		c.entries[e.id] = e
	}
	return nil
}

func (c *cache) root(id string) string { return filepath.Join(c.dir, id, "root") }

// recipe says what to make and how.
type recipe struct {
	id    string // kind and content
	title string // for people
	// make writes the content to root, which does not exist yet; its parent does.
	make func(ctx context.Context, root string, out *output) error
}

// get gives the path of the content, made if need be, and counts a use that
// the caller ends with put. log hears what the maker prints.
func (c *cache) get(ctx context.Context, r recipe, log *setupLog) (string, error) {
	c.mu.Lock()
	e := c.entries[r.id]
	if e == nil {
		e = &entry{id: r.id, about: about{Title: r.title}, done: make(chan struct{}), output: newOutput(), since: time.Now()}
		c.entries[r.id] = e
		var build context.Context
		build, e.cancel = context.WithCancel(c.ctx)
		before := c.stopping[r.id]
		c.wg.Go(func() { c.build(build, e, r, before) })
	}
	e.uses++
	c.clock++
	e.last = c.clock
	if e.output != nil {
		e.output.addLog(log)
	}
	out := e.output
	c.mu.Unlock()
	select {
	case <-e.done:
	case <-ctx.Done():
		c.leave(e)
		return "", fmt.Errorf("%w%s", context.Cause(ctx), out.end())
	}
	if e.err != nil {
		return "", e.err
	}
	return c.root(r.id), nil
}

// put ends a use of what was made.
func (c *cache) put(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil && e.made && e.uses > 0 {
		e.uses--
	}
}

// leave ends the wait of one asker. What nobody waits for any more is not made
// to the end.
func (c *cache) leave(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := e.id
	if c.entries[id] != e || e.uses == 0 {
		return // it has failed meanwhile
	}
	e.uses--
	if e.uses == 0 && !e.made {
		e.cancel()
		e.stopped = true
		delete(c.entries, id)
		c.stopping[id] = e // who asks next begins anew, after it
	}
}

func (c *cache) build(ctx context.Context, e *entry, r recipe, before *entry) {
	defer e.cancel()
	if before != nil {
		<-before.done
	}
	a, err := c.produce(ctx, e, r)
	c.mu.Lock()
	if e.stopped && err == nil {
		err = context.Canceled
	}
	if c.stopping[r.id] == e {
		delete(c.stopping, r.id)
	}
	e.err, e.made, e.about = err, err == nil, a
	e.output.close()
	e.output = nil
	if err != nil && c.entries[r.id] == e {
		delete(c.entries, r.id)
		c.remember(r, err)
	}
	stopped := e.stopped
	c.mu.Unlock()
	if stopped {
		_ = os.RemoveAll(filepath.Join(c.dir, r.id)) // what is left is not whole, or is made anew
	}
	close(e.done)
	if err == nil {
		c.trim()
	}
}

// failed is a build that failed, for the list of environments.
type failed struct {
	title string
	err   string
	ms    int64
}

const keptFailures = 100

// remember keeps a failure. The lock is held.
func (c *cache) remember(r recipe, err error) {
	c.failures = append(c.failures, failed{r.title, err.Error(), time.Now().UnixMilli()})
	if n := len(c.failures) - keptFailures; n > 0 {
		c.failures = slices.Delete(c.failures, 0, n)
	}
}

// produce makes the content and then declares it whole.
func (c *cache) produce(ctx context.Context, e *entry, r recipe) (a about, err error) {
	a = about{Title: r.title}
	dir := filepath.Join(c.dir, r.id)
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.RemoveAll(dir); err != nil {
		return a, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return a, err
	}
	if err := r.make(ctx, c.root(r.id), e.output); err != nil {
		return a, err
	}
	if err := ctx.Err(); err != nil {
		return a, err
	}
	a.MadeMS = time.Now().UnixMilli()
	if a.Bytes, err = size(dir); err != nil {
		return a, err
	}
	return a, declare(dir, a)
}

func declare(dir string, a about) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".complete-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, marker))
}

func size(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return err
	})
	return total, err
}

// trim removes unused things, the longest unused first, until the cache is
// within its bound.
func (c *cache) trim() {
	var gone []string
	c.mu.Lock()
	var made []*entry
	for _, e := range c.entries {
		if e.made {
			made = append(made, e)
		}
	}
	for _, e := range victims(made, c.bound) {
		// Renamed under the lock, so that nobody finds it half removed.
		path := filepath.Join(c.dir, e.id)
		trash := fmt.Sprintf("%s.removed-%d", path, c.clock)
		if os.Remove(filepath.Join(path, marker)) == nil && os.Rename(path, trash) == nil {
			gone = append(gone, trash)
		}
		delete(c.entries, e.id)
	}
	c.mu.Unlock()
	for _, path := range gone {
		_ = os.RemoveAll(path) // the next start of the daemon tries again
	}
}

// victims chooses what to remove so that the rest fits into bound bytes.
func victims(made []*entry, bound int64) (out []*entry) {
	var total int64
	for _, e := range made {
		total += e.about.Bytes
	}
	idle := slices.DeleteFunc(slices.Clone(made), func(e *entry) bool { return e.uses > 0 })
	slices.SortFunc(idle, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.id, b.id)) })
	for _, e := range idle {
		if total <= bound {
			break
		}
		total -= e.about.Bytes
		out = append(out, e)
	}
	return out
}
