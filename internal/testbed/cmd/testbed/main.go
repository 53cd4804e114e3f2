// Command testbed runs a command in a world of real hosts on one machine.
package main

import (
	"flag"
	"fmt"
	"os"

	"ray/internal/testbed"
)

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
	}
	os.Exit(status)
}

func run(args []string) (int, error) {
	if len(args) == 4 && args[0] == "host" {
		return testbed.HostInit(args[1], args[2], args[3])
	}
	if len(args) == 0 || args[0] != "run" && args[0] != "world" && args[0] != "laptop" {
		return 2, fmt.Errorf("usage: testbed run [--cloud static] [--hosts N] -- CMD [ARGS]")
	}
	flags := flag.NewFlagSet("testbed "+args[0], flag.ContinueOnError)
	cloud := flags.String("cloud", "static", "what makes the hosts")
	hosts := flags.Int("hosts", 3, "how many, 1 to 200")
	if err := flags.Parse(args[1:]); err != nil {
		return 2, nil // flags has said why
	}
	switch {
	case *cloud != "static":
		return 1, fmt.Errorf("not supported yet: --cloud %s", *cloud)
	case *hosts < 1 || *hosts > 200:
		return 2, fmt.Errorf("--hosts %d: must be 1 to 200", *hosts)
	case flags.NArg() == 0:
		return 2, fmt.Errorf("no command after --")
	case args[0] == "run":
		return testbed.EnterWorld(args[1:])
	case args[0] == "world":
		return testbed.WorldInit(args[1:])
	}
	return testbed.Laptop(*hosts, flags.Args())
}
