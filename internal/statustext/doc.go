// Package statustext prints a cluster's status as the plain text of `ray
// status`, and its objects as that of `ray memory`: upstream's layout, which
// people's scripts and eyes know. It is pure text over a spec.Status and rows
// of the state API; cmd/ray, the head and the dashboard may import it.
package statustext
