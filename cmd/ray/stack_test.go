package main

import (
	"testing"

	"ray/internal/session"
)

// A daemon that ends between being listed and being asked is no error.
func TestADaemonThatIsGoneHasEnded(t *testing.T) {
	if !ended(session.Announcement{Process: session.Process{PID: 1 << 30, StartTicks: 1}}) {
		t.Error("a daemon that nobody announces counts as one that does not answer")
	}
}
