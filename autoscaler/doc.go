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
// An instance lives like this (the whole table is in state.go):
//
//	QUEUED → REQUESTED → ALLOCATED → RAY_INSTALLING → RAY_RUNNING
//	   ↑         │ ╲                      │              │   ↑ refused
//	   └─ lost ──┘  ALLOCATION_FAILED     │       RAY_STOP_REQUESTED
//	                                      │              │
//	                       RAY_INSTALL_FAILED       RAY_STOPPING
//	                                      │              │
//	                                      │         RAY_STOPPED ← its node died
//	                                      └──────┬───────┘
//	                        TERMINATION_FAILED ⇄ TERMINATING → TERMINATED
//
// Every step looks at states only, so a head that takes over continues where
// the last one stopped: the table is stored before anything is done, a launch
// carries the instance's ID to the provider, and every action may be repeated.
//
// The package may be imported by internal/head, internal/simtest and cmd/ray.
// It imports internal/spec only: providers, the cluster state and the
// installation of a node reach it through the interfaces in this package.
package autoscaler
