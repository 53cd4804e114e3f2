// Package preemption learns from a cloud's metadata service, which machines
// reach by themselves alone, that the machine is about to be taken away: the
// notices of spot instances on AWS and Compute Engine. Only node may import it.
package preemption
