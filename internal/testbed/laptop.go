package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Laptop boots n hosts at once, then runs command beside them and returns its
// exit status. The command finds the hosts' addresses in TESTBED_HOSTS
// (separated by spaces), the user in TESTBED_USER, the private key in
// TESTBED_KEY, and a HOME of its own.
func Laptop(n int, command []string) (int, error) {
	home := filepath.Join(stateDir, "home")
	for _, d := range []string{".ssh", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, d), 0o700); err != nil {
			return 1, err
		}
	}
	key := filepath.Join(home, ".ssh", "id_ed25519")
	if err := makeKey(key); err != nil {
		return 1, err
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return 1, err
	}
	hosts, err := bootAll(n, strings.TrimSpace(string(public)))
	if err != nil {
		return 1, err
	}
	var addrs []string
	for _, h := range hosts {
		addrs = append(addrs, h.Addr)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home+"/tmp", "RAY_TMPDIR="+home+"/tmp",
		"TESTBED_HOSTS="+strings.Join(addrs, " "), "TESTBED_USER="+User, "TESTBED_KEY="+key)
	err = cmd.Run()
	for _, h := range hosts {
		h.Crash()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, fmt.Errorf("running %s: %w", command[0], err)
	}
	return 0, nil
}

func bootAll(n int, key string) ([]*Host, error) {
	hosts, errs := make([]*Host, n), make([]error, n)
	var all sync.WaitGroup
	for i := range hosts {
		all.Go(func() {
			if hosts[i], errs[i] = NewHost(i, key); errs[i] == nil {
				errs[i] = hosts[i].Boot()
			}
		})
	}
	all.Wait()
	return hosts, errors.Join(errs...)
}
