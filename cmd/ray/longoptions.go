package main

import "strings"

// oldNames are options of `ray logs` that upstream writes with one dash.
var oldNames = map[string]string{"-ip": "--node-ip", "-id": "--node-id", "-pid": "--pid"}

// longOptions writes options of several letters after one dash as the parser
// wants them; a letter each would be other options.
func longOptions(args []string) []string {
	if len(args) == 0 || args[0] != "logs" {
		return args
	}
	out := make([]string, len(args))
	for i, a := range args {
		name, value, given := strings.Cut(a, "=")
		if long := oldNames[name]; long != "" {
			if a = long; given {
				a += "=" + value
			}
		}
		out[i] = a
	}
	return out
}
