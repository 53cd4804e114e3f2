// Package machine finds out what a machine has for a node to offer: CPUs and
// memory within the limits of its control groups (version 1 and 2, as containers
// set them), memory in use, and GPUs. It reads files below a root, so that tests
// can make machines up; nothing in it changes anything. The node daemon and
// cmd/ray import it.
package machine
