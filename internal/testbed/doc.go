// Package testbed makes hosts that are real enough for a cluster launcher on
// one machine: each has its own network, mounts, processes and host name, a
// disk that is an overlay over the machine's root, and Debian's sshd.
//
// All of them, and the command under test, live inside a world: namespaces
// with no route out. The world's first process dies with the one that made it,
// and the kernel then ends everything inside, so no kill leaves anything behind.
// Disks lie on a tmpfs of the world and go with it.
//
// Only tests and the command below cmd/ may import it. It needs root.
package testbed
