// Package gcs is the cluster's control state: the tables of jobs, keys and
// values, actors, placement groups, nodes, packages and launched instances,
// and the store that makes them survive the head process.
//
// The tables are a pure state machine: a method of [Tables] changes the value
// in memory and returns a [Change], which lists what to write and what to
// tell whom. No method reads a clock, blocks or starts a goroutine; the
// [Committer] is the shell that makes changes durable in their order and lets
// their effects out afterwards. The package may be imported by internal/head
// and internal/jobs.
package gcs
