package launcher

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ray/internal/cluster"
	"ray/internal/session"
)

// StateRoot is where clusters are remembered: $XDG_STATE_HOME/ray, else
// ~/.local/state/ray.
func StateRoot() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ray"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("state directory: %w; set HOME or XDG_STATE_HOME", err)
	}
	return filepath.Join(home, ".local", "state", "ray"), nil
}

// Record is what is remembered of a cluster.
type Record struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	File     string `json:"file"` // the cluster file, as it was called
	// FileHash is the file's, from which the kept one was prepared.
	FileHash string `json:"file_hash,omitempty"`
	// The head, once it runs.
	HeadID    string    `json:"head_id,omitempty"`
	Address   string    `json:"address,omitempty"`   // host:port of the head
	Dashboard string    `json:"dashboard,omitempty"` // host:port
	Updated   time.Time `json:"updated"`
}

// dirName is the name of a cluster's directory: two clusters of one name at
// different places are two clusters.
func dirName(cfg *cluster.Config) string {
	place := cfg.Provider.Type + "\x00" + cfg.Provider.Text("region") + "\x00" + cfg.Provider.Text("project_id") + "\x00" + cfg.Provider.Text("head_ip")
	sum := sha256.Sum256([]byte(place))
	return cfg.Name + "-" + hex.EncodeToString(sum[:4])
}

// dir is one cluster's directory.
type dir string

func (d dir) path(name string) string { return filepath.Join(string(d), name) }
func (d dir) token() string           { return d.path("token") }
func (d dir) exists() bool            { _, err := os.Stat(string(d)); return err == nil }

// record reads what is remembered; fs.ErrNotExist if nothing is.
func (d dir) record() (Record, error) {
	var r Record
	data, err := os.ReadFile(d.path("cluster.json"))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", d.path("cluster.json"), err)
	}
	return r, nil
}

func (d dir) remember(r Record) error {
	r.Updated = time.Now()
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return session.WriteFile(d.path("cluster.json"), append(data, '\n'))
}

// keep stores the resolved file, by which verbs that name no file know the
// cluster.
func (d dir) keep(cfg *cluster.Config) error {
	return session.WriteFile(d.path("cluster.yaml"), cfg.Marshal())
}

// makeToken makes the cluster's token unless there is one.
func (d dir) makeToken() error {
	if _, err := os.Stat(d.token()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	return session.WriteFile(d.token(), []byte(hex.EncodeToString(secret[:])))
}

// store is the directory of all clusters.
type store string

func (s store) clusters() string   { return filepath.Join(string(s), "clusters") }
func (s store) at(name string) dir { return dir(filepath.Join(s.clusters(), name)) }

// list gives the remembered clusters' directories, sorted.
func (s store) list() ([]dir, error) {
	entries, err := os.ReadDir(s.clusters())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []dir
	for _, e := range entries {
		if d := s.at(e.Name()); e.IsDir() {
			if _, err := d.record(); err == nil {
				out = append(out, d)
			}
		}
	}
	return out, nil
}

// named finds the one cluster of a name, or of a directory's name.
func (s store) named(name string) (dir, error) {
	all, err := s.list()
	if err != nil {
		return "", err
	}
	var found []dir
	var names []string
	for _, d := range all {
		r, err := d.record()
		if err != nil {
			continue
		}
		names = append(names, r.Name)
		if r.Name == name || filepath.Base(string(d)) == name {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", errors.New("no cluster is called " + name + nearest(name, names))
	}
	var full []string
	for _, d := range found {
		full = append(full, filepath.Base(string(d)))
	}
	return "", fmt.Errorf("several clusters are called %s; say which: %s", name, strings.Join(full, ", "))
}

func nearest(name string, names []string) string {
	if len(names) == 0 {
		return "; there is none yet: start one with `ray up FILE`"
	}
	slices.Sort(names)
	if n, ok := cluster.Nearest(name, names); ok {
		return "; did you mean " + n + "?"
	}
	return "; there are " + strings.Join(slices.Compact(names), ", ")
}

func (s store) currentFile() string { return filepath.Join(string(s), "current") }

// current gives the cluster that is used when none is named: the one last
// brought up or chosen, or the only one.
func (s store) current() (dir, bool) {
	if data, err := os.ReadFile(s.currentFile()); err == nil {
		d := s.at(filepath.Base(strings.TrimSpace(string(data))))
		if _, err := d.record(); err == nil {
			return d, true
		}
	}
	if all, err := s.list(); err == nil && len(all) == 1 {
		return all[0], true
	}
	return "", false
}

func (s store) use(d dir) error {
	return session.WriteFile(s.currentFile(), []byte(filepath.Base(string(d))+"\n"))
}

// forget removes all that is kept of a cluster.
func (s store) forget(d dir) error {
	err := os.RemoveAll(string(d))
	if data, rerr := os.ReadFile(s.currentFile()); rerr == nil && strings.TrimSpace(string(data)) == filepath.Base(string(d)) {
		err = errors.Join(err, os.Remove(s.currentFile()))
	}
	return err
}
