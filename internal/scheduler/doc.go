// Package scheduler decides where tasks, actors and bundles go, for the whole
// cluster. All of it is functions of values: the caller takes a [Cluster]
// from the node table, asks for places one row after another (each answer is
// taken off the snapshot) and sends the grants. It reads no clock, and its
// randomness is passed in. It may be imported by internal/head and
// internal/simtest, and imports internal/spec only.
package scheduler
