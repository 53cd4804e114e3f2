// Package spec is the vocabulary that several parts of the system share: ids,
// resources in fixed point, options of tasks and actors, placement groups,
// nodes, jobs and the status of a cluster. It holds values and their text
// forms only: no I/O, no clock, no goroutine. Every package may import it; it
// imports nothing but the standard library.
package spec
