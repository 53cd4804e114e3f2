// Package autoscaler keeps a cluster at the size that its work needs: it
// decides which machines to start and stop, drives each of them through its
// life, and survives the restart of the head that runs it.
//
// It has three layers, each usable without the next:
//
//   - [Plan] is a pure function from a [Request] (configuration, machines,
//     nodes, demand) to a [Reply] (launches, terminations, what cannot be
//     served and why).
//   - [Manager] is a pure state machine over the instance [Table]: Step takes
//     one observation and returns the actions to perform. It reads no clock
//     and starts no goroutine, so internal/simtest runs whole clusters of it
//     in virtual time.
//   - [Reconciler] is the shell: it observes the cluster and the provider,
//     calls Step, stores the table, performs the actions and wakes up again.
//
// The package may be imported by internal/head, internal/simtest and cmd/ray.
// It imports internal/spec only: providers, the cluster state and the
// installation of a node reach it through the interfaces in this package.
package autoscaler
