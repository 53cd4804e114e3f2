// Package metrics keeps the figures of one node and writes them as Prometheus
// text: what programs record through ray.util.metrics, and what the daemon
// knows of itself. It holds values only; the daemon serves them.
package metrics
