//go:build !linux

package session

import (
	"errors"
	"fmt"
	"syscall"
)

// Identify tells whether the process exists; this system has no /proc, so the
// pid alone is its identity.
func Identify(pid int) (Process, error) {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return Process{PID: pid}, nil
}
