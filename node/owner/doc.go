// Package owner decides the life of the objects, tasks and actor calls that
// one node daemon owns: who refers to what, what may run, what is retried,
// made again or given up. It is a pure state machine: methods change the state
// and append effects, which the daemon takes with Effects and carries out. No
// lock, clock or I/O. Only node and its tests import it.
package owner
