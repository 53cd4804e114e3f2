// Package dashboard is the head's HTTP side: the state API, the cluster's
// status as JSON and as one web page, health checks, metrics, and the guard
// that every request passes. It holds no state of the cluster: internal/head
// gives it a [Source]. It may be imported by internal/head only.
package dashboard
