// Package pool decides which task runs in which worker process of one node:
// queues by scheduling class, resources with their devices and placement group
// bundles, worker reuse, several tasks in flight per worker and their recall.
// It is a pure state machine: methods take the time and append effects. No
// lock, clock or I/O. Only node and its tests import it.
package pool
