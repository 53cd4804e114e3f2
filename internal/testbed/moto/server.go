package moto

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Program finds moto_server: below root, the repository's directory, in the
// project's own environment, else in PATH; "" if there is none.
func Program(root string) string {
	if own, err := filepath.Abs(filepath.Join(root, ".venv/bin/moto_server")); err == nil {
		if _, err := os.Stat(own); err == nil {
			return own
		}
	}
	path, _ := exec.LookPath("moto_server")
	return path
}

// Missing says what to do where Program finds nothing.
const Missing = "no moto_server: install moto[server] of scripts/requirements-test.txt into .venv, or put it into PATH"

var reRunning = regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)`)

// startLimit bounds the start of moto.
const startLimit = time.Minute

// Policies is a setting with which moto knows AWS's own IAM policies, which
// AttachRolePolicy needs; it makes moto slow to start and to reset.
const Policies = "MOTO_IAM_LOAD_MANAGED_POLICIES=true"

// Start starts moto at a free port of 127.0.0.1, with settings from its
// environment, and gives its address.
func Start(program string, settings ...string) (address string, stop func(), err error) {
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", "0")
	cmd.Env = append(os.Environ(), settings...)
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, fmt.Errorf("starting moto: %w", err)
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	timer := time.AfterFunc(startLimit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := reRunning.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the server
			return m[1], stop, nil
		}
		said = append(said, lines.Text())
	}
	stop()
	return "", nil, errors.New("moto ended without saying where it listens:\n" + strings.Join(said, "\n"))
}
