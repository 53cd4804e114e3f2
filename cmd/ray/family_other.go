//go:build !linux

package main

import "ray/internal/session"

// family is the daemon alone where there is no /proc: it ends its children.
func family(a session.Announcement) []session.Process { return []session.Process{a.Process} }
