package session

import (
	"errors"
	"os"
	"syscall"
)

// Process is the identity of a process: a pid alone is reused. The JSON names
// are those of an announcement.
type Process struct {
	PID int `json:"pid"`
	// StartTicks is field 22 of /proc/pid/stat: clock ticks after boot. 0 where
	// the system does not tell; then the pid alone decides.
	StartTicks uint64 `json:"start_ticks"`
	// BootID is the kernel's random id of this boot, "" where there is none.
	BootID string `json:"boot_id"`
}

// Self identifies the calling process.
func Self() Process { p, _ := Identify(os.Getpid()); return p }

// Alive tells whether the process still runs. A zombie does not.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, err := Identify(p.PID)
	if err != nil {
		return false
	}
	if p.StartTicks == 0 && p.BootID == "" {
		return true
	}
	return now == p
}

// Signal sends sig to the process if it is still the same one, and does
// nothing if it is gone.
func (p Process) Signal(sig syscall.Signal) error {
	if !p.Alive() {
		return nil
	}
	err := syscall.Kill(p.PID, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
