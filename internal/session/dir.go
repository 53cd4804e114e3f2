package session

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Dir is a session's directory under a RAY_TMPDIR.
type Dir struct {
	// Path is absolute, Name its last element: session_<date>_<pid>.
	Path, Name string
}

// Logs is the directory of the session's log files.
func (d Dir) Logs() string { return filepath.Join(d.Path, "logs") }

// NewDir makes the directory of a new session under tmpdir, which is made if
// needed, and points session_latest to it. now and pid give its name.
func NewDir(tmpdir string, now time.Time, pid int) (Dir, error) {
	if err := makeTempDir(tmpdir); err != nil {
		return Dir{}, err
	}
	name := fmt.Sprintf("session_%s_%06d_%d", now.Format("2006-01-02_15-04-05"), now.Nanosecond()/1000, pid)
	d := Dir{Path: filepath.Join(tmpdir, name), Name: name}
	if err := os.Mkdir(d.Path, 0o700); err != nil {
		return Dir{}, fmt.Errorf("make the session directory: %w", err)
	}
	if err := os.Mkdir(d.Logs(), 0o700); err != nil {
		return Dir{}, fmt.Errorf("make the log directory: %w", err)
	}
	return d, pointLatest(tmpdir, name)
}

func makeTempDir(tmpdir string) error {
	if tmpdir == Root() {
		return EnsureRoot()
	}
	if !filepath.IsAbs(tmpdir) {
		return fmt.Errorf("the session root %q is not an absolute path", tmpdir)
	}
	if err := os.MkdirAll(tmpdir, 0o700); err != nil {
		return fmt.Errorf("make the session root: %w", err)
	}
	return nil
}

// pointLatest replaces the link in one step, so that a reader never misses it.
func pointLatest(tmpdir, name string) error {
	link := filepath.Join(tmpdir, "session_latest")
	temp := fmt.Sprintf("%s.%d", link, os.Getpid())
	_ = os.Remove(temp)
	if err := os.Symlink(name, temp); err != nil {
		return fmt.Errorf("link session_latest: %w", err)
	}
	if err := os.Rename(temp, link); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("link session_latest: %w", err)
	}
	return nil
}
