// Command testbed runs a command in a world of real hosts on one machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"ray/internal/testbed"
	"ray/internal/testbed/moto"
)

const usage = "usage: testbed run [--cloud static|aws|gcp] [options] -- CMD [ARGS]; testbed run -h lists them"

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
	}
	os.Exit(status)
}

func run(args []string) (int, error) {
	if len(args) == 2 && args[0] == "host" {
		return testbed.HostInit(args[1])
	}
	if len(args) == 0 || !slices.Contains([]string{"run", "world", "laptop"}, args[0]) {
		return 2, fmt.Errorf("%s", usage)
	}
	var o testbed.Options
	flags := flag.NewFlagSet("testbed "+args[0], flag.ContinueOnError)
	flags.StringVar(&o.Cloud, "cloud", "static", "what makes the hosts: static, aws or gcp")
	flags.IntVar(&o.Hosts, "hosts", 3, "how many hosts, 1 to 200 (static)")
	flags.Func("bind", "directory below a home that hosts show read-only; may be repeated", func(dir string) error {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is no directory", dir)
		}
		o.Binds = append(o.Binds, dir)
		return nil
	})
	flags.StringVar(&o.Path, "path", "", "directories that go first in the PATH of hosts")
	flags.StringVar(&o.Moto, "moto", moto.Program("."), "the program moto_server (aws)")
	flags.BoolFunc("policies", "moto knows AWS's own IAM policies, and is slow to start (aws)", func(string) error {
		o.MotoSettings = append(o.MotoSettings, moto.Policies)
		return nil
	})
	flags.DurationVar(&o.BootDelay, "boot-delay", 0, "time from an instance's state `running` to its power-on")
	flags.IntVar(&o.PageSize, "page-size", 0, "instances in one answer; 0 is the cloud's own number")
	flags.DurationVar(&o.Latency, "latency", 0, "how long an operation takes (gcp)")
	if err := flags.Parse(args[1:]); err != nil {
		return 2, nil // flags has said why
	}
	switch {
	case !slices.Contains([]string{"static", "aws", "gcp"}, o.Cloud):
		return 2, fmt.Errorf("--cloud %s: must be static, aws or gcp", strings.TrimSpace(o.Cloud))
	case o.Hosts < 1 || o.Hosts > 200:
		return 2, fmt.Errorf("--hosts %d: must be 1 to 200", o.Hosts)
	case flags.NArg() == 0:
		return 2, fmt.Errorf("no command after --")
	case args[0] == "run":
		return testbed.EnterWorld(args[1:])
	case args[0] == "world":
		return testbed.WorldInit(args[1:])
	}
	return testbed.Laptop(o, flags.Args())
}
