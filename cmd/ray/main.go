// Command ray launches clusters, runs their daemons and shows what they do.
// This package is wiring: a file for each verb, the exit codes, and nothing
// that another program would want to import.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A second signal ends the process at once: whoever sends it does not want to wait.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:]))
}
