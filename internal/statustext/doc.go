// Package statustext prints a cluster's status as the plain text of `ray
// status`: upstream's layout, which people's scripts and eyes know. It is pure
// text over a spec.Status and may be imported by cmd/ray and the dashboard.
package statustext
