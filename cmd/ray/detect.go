package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// pythons lists the interpreters that may run workers, best first: the one
// named, the one beside this program, the active environment's, those on PATH.
func pythons(given string) []string {
	var l interpreters
	l.add(given)
	l.add(os.Getenv("RAY_PYTHON"))
	if self, err := exec.LookPath(os.Args[0]); err == nil {
		l.add(filepath.Join(filepath.Dir(self), "python3"))
	}
	for _, variable := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := os.Getenv(variable); dir != "" {
			l.add(filepath.Join(dir, "bin", "python3"))
		}
	}
	l.add("python3")
	for minor := 14; minor >= 9; minor-- {
		// A version manager's shim may stand for a version that is not
		// there, and asking each takes longer than starting a daemon.
		path, err := exec.LookPath("python3." + strconv.Itoa(minor))
		if err == nil && filepath.Base(filepath.Dir(path)) != "shims" {
			l.add(path)
		}
	}
	return l.paths
}

// interpreters is a list without repetitions. The same file reached through
// two directories counts twice: the directory makes the virtual environment.
type interpreters struct {
	paths []string
	seen  map[[2]string]bool
}

func (l *interpreters) add(name string) {
	if name == "" {
		return
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return
	}
	if path, err = filepath.Abs(path); err != nil {
		return
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return
	}
	key := [2]string{filepath.Dir(path), file}
	if l.seen[key] {
		return
	}
	if l.seen == nil {
		l.seen = map[[2]string]bool{}
	}
	l.seen[key] = true
	l.paths = append(l.paths, path)
}

// portHolder finds the process that listens on a TCP port: 0 where the system
// does not tell, or the process is another user's.
func portHolder(port int) (pid int, name string) {
	sockets := map[string]netip.AddrPort{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		readListeners(table, sockets)
	}
	maps.DeleteFunc(sockets, func(_ string, at netip.AddrPort) bool { return int(at.Port()) != port })
	if len(sockets) == 0 {
		return 0, ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if _, ours := sockets[target]; err != nil || !ours {
			continue
		}
		part := strings.Split(fd, "/")[2]
		pid, err := strconv.Atoi(part)
		if err != nil {
			continue
		}
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return pid, strings.TrimSpace(string(comm))
	}
	return 0, ""
}
