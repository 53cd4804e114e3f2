// Package transfer moves object bytes between nodes: over connections of
// their own, in ranges, straight from one arena into the other. It decides
// nothing: the node daemon says what to fetch from whom and tries another copy
// if a source fails. The node daemon alone imports it.
//
// The protocol on a bulk connection: the asker sends requests of 45 bytes
// (operation, object id, offset, length), the other side answers each with 9
// bytes (status, size of the whole object) and the bytes of the range.
package transfer
