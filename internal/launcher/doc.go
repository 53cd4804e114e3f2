// Package launcher is the verbs that make, use and end clusters: up, down,
// attach, exec, submit, get-head-ip. Each is a visible list of steps over a
// provider and bootstrap. What it keeps about a cluster lies in the user's
// state directory and is a hint: the provider's list says what exists. Every
// call that makes or ends machines is journaled before and after, so that a
// launcher which was killed at any point is picked up by the next.
//
// Only cmd/ray imports it.
package launcher
