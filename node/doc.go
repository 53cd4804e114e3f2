// Package node is one machine's daemon: it owns the objects, references and
// tasks of the clients (drivers and workers) that connect to it, runs tasks
// and actors in worker processes, and talks to the head and to other nodes.
// Decisions live in the pure packages node/owner and node/pool; this package
// holds their one lock, the connections and the processes. Only cmd/ray and
// tests import it.
package node
