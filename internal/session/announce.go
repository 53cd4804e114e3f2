package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Announcement says that a node daemon runs here and how to reach it.
type Announcement struct {
	ClusterID   string `json:"cluster_id"`
	ClusterName string `json:"cluster_name"`
	NodeID      string `json:"node_id"` // hex
	NodeIP      string `json:"node_ip"`
	// Head is true for the daemon of the head's machine.
	Head bool `json:"head"`
	// Address is the head's host:port, NodeAddress this daemon's.
	Address     string `json:"address"`
	NodeAddress string `json:"node_address"`
	Socket      string `json:"socket"`
	SessionDir  string `json:"session_dir"`
	SessionName string `json:"session_name"`
	TempDir     string `json:"tmpdir"`
	// StartedUnder is the root of the environment that it was started in: TempDir
	// unless another one was asked for.
	StartedUnder string `json:"started_under"`
	Process
	Dashboard      string `json:"dashboard"` // host:port, "" if there is none
	MetricsAddress string `json:"metrics_address"`
	// TokenPath is the file that holds the token, "" if it came otherwise.
	TokenPath string `json:"token_path"`
	StartedMS int64  `json:"started_ms"`
	// JobOwner is the pid of the driver that owns this cluster, else 0.
	JobOwner int `json:"job_owner"`
}

func (a Announcement) file() (string, error) {
	if len(a.NodeID) < 16 || strings.ContainsAny(a.NodeID, "/.") {
		return "", fmt.Errorf("announce: node id %q is not a hex id", a.NodeID)
	}
	return filepath.Join(announceDir(), a.NodeID[:16]+".json"), nil
}

// Publish writes the announcement for everyone to find: into Root, and as the
// newest of its TempDir. A second call replaces the first.
func Publish(a Announcement) error {
	if err := EnsureRoot(); err != nil {
		return err
	}
	path, err := a.file()
	if err != nil {
		return err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	text = append(text, '\n')
	if err := WriteFile(path, text); err != nil {
		return err
	}
	if a.TempDir == "" {
		return nil
	}
	return a.newest(text)
}

// newest makes a, written as text, the one that is found under its TempDir. The
// cluster that nodes were started for, not one of a driver's own, is told by its
// address as well, in the file that other programs know from upstream.
func (a Announcement) newest(text []byte) error {
	if err := WriteFile(newestFile(a.TempDir), text); err != nil || a.JobOwner != 0 {
		return err
	}
	return WriteFile(currentFile(a.TempDir), []byte(a.Address))
}

// Withdraw removes what Publish wrote and the daemon's socket directory.
func Withdraw(a Announcement) error {
	path, err := a.file()
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if newest, readErr := readFile(newestFile(a.TempDir)); readErr == nil && newest.NodeID == a.NodeID {
		err = errors.Join(err, promote(a))
	}
	return errors.Join(err, removeSockets(a))
}

// promote makes the next living daemon under a's TempDir its newest; a is gone.
func promote(a Announcement) error {
	names, err := filepath.Glob(filepath.Join(announceDir(), "*.json"))
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	var next *Announcement
	for _, name := range names {
		other, err := readFile(name)
		if err != nil || other.TempDir != a.TempDir || other.NodeID == a.NodeID || !other.Alive() {
			continue
		}
		if next == nil || other.StartedMS > next.StartedMS {
			next = &other
		}
	}
	if next == nil {
		_ = os.Remove(currentFile(a.TempDir))
		return os.Remove(newestFile(a.TempDir))
	}
	text, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return next.newest(append(text, '\n'))
}

// List gives the announcements of living daemons of this user, oldest first,
// and removes those of daemons that are gone.
func List() ([]Announcement, error) {
	names, err := filepath.Glob(filepath.Join(announceDir(), "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	var live []Announcement
	for _, name := range names {
		a, err := readFile(name)
		if err != nil {
			continue // just removed, or written by a version that we do not understand
		}
		if a.Alive() {
			live = append(live, a)
			continue
		}
		_ = Withdraw(a)
	}
	sort.SliceStable(live, func(i, j int) bool { return live[i].StartedMS < live[j].StartedMS })
	return live, nil
}

// Newest gives the newest living announcement made under tmpdir.
func Newest(tmpdir string) (Announcement, bool) {
	a, err := readFile(newestFile(tmpdir))
	if err != nil || !a.Alive() {
		return Announcement{}, false
	}
	return a, true
}

func currentFile(tmpdir string) string { return filepath.Join(tmpdir, "ray_current_cluster") }

func newestFile(tmpdir string) string { return filepath.Join(tmpdir, "session.json") }

func readFile(path string) (Announcement, error) {
	var a Announcement
	text, err := os.ReadFile(path)
	if err != nil {
		return a, fmt.Errorf("read announcement: %w", err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("read announcement %s: %w", path, err)
	}
	return a, nil
}

func removeSockets(a Announcement) error {
	if a.Socket == "" {
		return nil
	}
	dir := filepath.Dir(a.Socket)
	if !isSocketDir(dir) {
		return nil
	}
	return os.RemoveAll(dir)
}

// WriteFile writes a private file (0600) in one step: readers see the old
// content or the new one.
func WriteFile(path string, text []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = temp.Write(text)
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
