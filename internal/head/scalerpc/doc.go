// Package scalerpc serves upstream's AutoscalerStateService for a head: what
// the cluster has and asks for, in the format that upstream's autoscaler and
// status tools speak, over gRPC on the head's one port. What a head knows is
// turned into messages by pure functions; only the head may import it.
package scalerpc
