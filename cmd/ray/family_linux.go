package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ray/internal/session"
)

// family lists a daemon, the processes of its session directory (the head
// survives its daemon and is found again by its configuration file) and all
// that descend from them. This process and those between it and such a daemon
// are left out: a node that ends itself is ended by its own descendant, which
// must live until that is done.
func family(a session.Announcement) []session.Process {
	parents := map[int]int{}
	roots := map[int]bool{a.PID: true}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range entries {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		parents[pid] = parentOf(dir)
		if ofSession(dir, a.SessionDir) {
			roots[pid] = true
		}
	}
	caller := map[int]bool{}
	for pid := os.Getpid(); pid > 1 && !roots[pid] && !caller[pid]; pid = parents[pid] {
		caller[pid] = true
	}
	var out []session.Process
	for pid := range parents {
		if caller[pid] || !descends(pid, roots, parents) {
			continue
		}
		if p, err := session.Identify(pid); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func descends(pid int, roots map[int]bool, parents map[int]int) bool {
	for range 64 { // deeper trees do not occur; a cycle cannot, but pids may be reused meanwhile
		if roots[pid] {
			return true
		}
		parent, ok := parents[pid]
		if !ok || parent <= 1 {
			return roots[parent]
		}
		pid = parent
	}
	return false
}

// ofSession tells whether the process is a daemon (`ray __node|__head
// --config <session directory>/…`) of the session.
func ofSession(dir, sessionDir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil || sessionDir == "" {
		return false
	}
	args := bytes.Split(text, []byte{0})
	if len(args) < 4 || (string(args[1]) != "__node" && string(args[1]) != "__head") {
		return false
	}
	return filepath.Dir(string(args[3])) == sessionDir
}

func parentOf(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}
