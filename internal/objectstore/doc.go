// Package objectstore is the shared memory of one machine: one arena that the
// node daemon makes and every local client maps, in which large objects are
// written once and read without copies. It knows bytes, clients and pins, not
// owners or references: the node daemon tells it what is needed and what is
// not. The daemon and its transfers may import it.
//
// Layers: allocator (pure: extents), table (pure: objects, pins, what may go
// next), Store (the shell: mapping, spill files, goroutines).
package objectstore
