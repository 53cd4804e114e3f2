package launcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// holder says who works on a cluster.
type holder struct {
	PID   int       `json:"pid"`
	Verb  string    `json:"verb"`
	Since time.Time `json:"since"`
}

// LockedError is a cluster on which another launcher works.
type LockedError struct {
	Cluster string
	Holder  holder
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("cluster %s: another `ray %s` (process %d, for %s) is working on it; wait for it to end, or end it",
		e.Cluster, e.Holder.Verb, e.Holder.PID, time.Since(e.Holder.Since).Round(time.Second))
}

// lock takes the cluster's lock. The kernel drops it with its holder, so a
// killed launcher leaves none behind.
func (d dir) lock(cluster, verb string) (unlock func(), err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(d.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			e := &LockedError{Cluster: cluster}
			data, _ := io.ReadAll(f)
			_ = json.Unmarshal(data, &e.Holder)
			_ = f.Close()
			return nil, e
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		// A `down` may have removed the directory between our two calls; then
		// this lock is on a file that nobody else will ever find.
		if mine, err := f.Stat(); err == nil {
			if there, err := os.Stat(d.path("lock")); err != nil || !os.SameFile(mine, there) {
				_ = f.Close()
				if err := os.MkdirAll(string(d), 0o700); err != nil {
					return nil, err
				}
				continue
			}
		}
		data, _ := json.Marshal(holder{PID: os.Getpid(), Verb: verb, Since: time.Now()})
		_ = f.Truncate(0)
		if _, err := f.WriteAt(data, 0); err != nil {
			_ = f.Close()
			return nil, err
		}
		return func() { _ = f.Close() }, nil
	}
}
