// Package transfer moves object bytes between nodes: over connections of
// their own, in ranges, straight from one arena into the other. It decides
// little: the node daemon says what to fetch and who has it. If a source fails
// in the middle another gives the rest, and if many nodes want a large object
// at once its source sends each to one that is getting it already (line.go).
// The node daemon alone imports it.
package transfer
