// Package prices says what machines cost by the hour, so that a plan can be
// read before it is paid for and the autoscaler can choose the cheaper of two
// types. It answers from a table in the program, which has a date, or from
// newer prices stored beside the clusters' state; it makes no call.
//
// The launcher, the autoscaler's shell and cmd/ray import it.
package prices
