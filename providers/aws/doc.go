// Package aws is the provider of EC2 instances. The cluster's tags on the
// instances are the truth about what exists; nothing about instances is kept
// on disk. Prepare finds or makes what instances need besides: a key pair, a
// security group, an instance profile for the head, subnets and an image.
//
// A node_config is the input of EC2's RunInstances call, by its own names, and
// three more: SubnetIds (tried in turn), InstanceTypes (tried in order) and
// SpotFallback (on-demand machines where no spot machine is to be had).
//
// Only package all and cmd/ray's tests import it.
package aws
