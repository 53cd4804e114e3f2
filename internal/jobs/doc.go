// Package jobs runs submitted jobs: it accepts an entrypoint over HTTP, has a
// node daemon start it, follows it to its end and serves its output, in
// upstream's Job REST API. The job table is internal/gcs's; the nodes are
// reached through [Cluster], which internal/head implements. It may be
// imported by internal/head only.
package jobs
