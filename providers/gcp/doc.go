// Package gcp makes machines of Google's Compute Engine. It takes node_configs
// in the shape of the service's instances.insert call, fills in what a user
// need not know (image, network, service account, key), tries zones, machine
// types and spot or standard provisioning in order, and names instances by the
// request that asked for them, so that asking twice makes one machine.
//
// TPU nodes are refused: they are not supported yet. Package providers/all
// imports it.
package gcp
