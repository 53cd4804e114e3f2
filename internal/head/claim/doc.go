// Package claim gives an autoscaler outside the head the sole hold on a
// cluster, and a place for its table, through the head's key-value store: one
// that is killed is followed at once or after a while, and two never act for
// the same cluster. Only the head may import it.
package claim
