// Package wire holds what travels: frames between a client and its node
// daemon, resumable sessions between machines, the TLS and token exchange,
// and the control messages between node and head. docs/PROTOCOL.md is its
// text. It may be imported by everything above internal/spec.
package wire
