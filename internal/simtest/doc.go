// Package simtest runs a cluster's control decisions in one process and in
// virtual time: the real autoscaler.Manager against a made-up cloud that is
// slow, refuses, forgets answers and loses machines, with made-up nodes that
// run made-up tasks. Nothing in it waits or reads a clock, so a day takes
// milliseconds and every run with one seed is the same. Only tests import it.
package simtest
