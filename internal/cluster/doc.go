// Package cluster turns a cluster YAML file into a Config: it reads the file
// as YAML 1.1 (which is what such files have always been written for), fills
// in the provider's defaults, checks every field and reports all problems at
// once with their lines, and computes the hashes that tell whether a running
// machine still fits its file. It is the only package that knows YAML.
//
// The launcher, the providers, bootstrap and the autoscaler import it; it
// imports only internal/spec. Reading a file is its one side effect.
package cluster
