// Package proc starts, watches and ends the processes that a node runs: fork
// servers and the workers that they fork, and the entrypoints of submitted
// jobs. It owns their output: pipes in, rotated log files and lines out. The
// node daemon alone imports it; it knows nothing of tasks.
//
// Every process that it starts leads a process group of its own, and the
// whole group is killed when the process ends or when the Manager is closed.
package proc
