// Package tui is the terminal view of a cluster: a Bubble Tea program over
// spec.Status. It shows nodes by type and state, resource use, what waits and
// why, running tasks and actors, recent events, and the log of a chosen node.
// Only cmd/ray imports it, and it is the only package that may import Bubble
// Tea and Lip Gloss. It fetches everything through [Source].
package tui
