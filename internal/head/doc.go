// Package head is the head process: it puts the cluster's tables
// (internal/gcs), the global scheduler, the autoscaler, the job service and
// the dashboard together behind one TLS port for nodes and one HTTP port for
// people. It runs no tasks itself; the head machine's node daemon is another
// process. It may be imported by cmd/ray and internal/simtest.
package head
