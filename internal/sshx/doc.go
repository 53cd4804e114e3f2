// Package sshx is a connection to a host: commands with streamed output, files
// there and back, forwarded ports. A host is reached over SSH (SSH), is a
// directory and an environment on this machine (Local), or is made up (Fake).
// It is the only package that speaks SSH.
//
// Providers hand hosts out; bootstrap and the launcher use them. It imports
// nothing of the project.
package sshx
