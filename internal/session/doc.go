// Package session is how processes of one machine find each other: the private
// root directory, the directory of each session, and the files in which node
// daemons announce themselves (docs/PROTOCOL.md section 6). It knows a process
// by pid, start time and boot id, so that a reused pid or a killed daemon is
// never taken for a living one. It may be imported by everything above
// internal/spec and imports nothing of this module.
package session
