// Package runtimeenv makes, on one node, the environment that a job, task or
// actor asks for: variables, working directory, module paths. An environment
// is made once for each content and shared by all who ask. The node daemon
// alone imports it.
package runtimeenv
