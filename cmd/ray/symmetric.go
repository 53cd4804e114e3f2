package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ray/internal/session"
	"ray/internal/spec"
)

// symmetricWait is how long the head waits for the other nodes, and they for
// the head, as upstream has it.
const symmetricWait = 30 * time.Second

// symmetricRun is one `ray symmetric-run`.
type symmetricRun struct {
	address    string // of the head, as every node was given it
	host       string // its address, looked up
	port       int
	nodes      int
	start      *startOptions
	entrypoint []string
	wait       time.Duration
	out        io.Writer
}

func symmetricRunCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "symmetric-run --address HOST:PORT [--min-nodes N] [START OPTIONS] -- COMMAND [ARGS]...",
		Short: "Start a cluster by the same line on every machine, run a command on its head, end it.",
		Long: "Run this line on every machine, as batch systems do. The machine that has the address becomes the head, waits for\n" +
			"N nodes, runs the command and ends the cluster; the others join and stay until then. Options of `ray start` may be\n" +
			"given, except --head, --node-ip-address, --port and --block. The status is the command's.",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args[:max(0, slices.Index(args, "--"))], "--help") || len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				return cmd.Help()
			}
			r, err := parseSymmetric(args, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			return r.run(cmd.Context())
		},
	}
}

// parseSymmetric understands the words after the verb.
func parseSymmetric(args []string, out io.Writer) (*symmetricRun, error) {
	at := slices.Index(args, "--")
	if at < 0 {
		return nil, usagef("No separator '--' found: put it between the options and the command to run.")
	}
	r := &symmetricRun{start: newStartOptions(), entrypoint: args[at+1:], wait: symmetricWait, out: out}
	if len(r.entrypoint) == 0 {
		return nil, usagef("No entrypoint command provided: put it behind the '--'.")
	}
	f := pflag.NewFlagSet("symmetric-run", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	r.start.bind(f)
	f.IntVar(&r.nodes, "min-nodes", 1, "")
	if err := f.Parse(args[:at]); err != nil {
		return nil, usagef("%s", err)
	}
	for _, name := range []string{"head", "node-ip-address", "port", "block"} {
		if f.Changed(name) {
			return nil, usagef("Cannot use --%s option in symmetric-run.", name)
		}
	}
	if len(f.Args()) > 0 {
		return nil, usagef("Got unexpected extra argument (%s)", strings.Join(f.Args(), " "))
	}
	if r.address, r.start.address = r.start.address, ""; r.address == "" {
		return nil, usagef("Missing option '--address'.")
	}
	if text := os.Getenv("RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 0 {
			return nil, usagef("RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT is %q, not a number of seconds", text)
		}
		r.wait = time.Duration(seconds) * time.Second
	}
	return r, r.resolve()
}

// resolve looks the head's address up.
func (r *symmetricRun) resolve() error {
	host, port, err := net.SplitHostPort(r.address)
	if err == nil {
		r.port, err = strconv.Atoi(port)
	}
	if err != nil || host == "" {
		return usagef("Invalid address format: %s, should be `host:port`", r.address)
	}
	ips, err := net.LookupHost(host)
	if err != nil {
		return fmt.Errorf("could not resolve hostname %s: %w", host, err)
	}
	r.host = ips[0]
	return nil
}

// isHead tells whether the head's address is one of this machine. With several
// nodes a loopback address means nobody: every machine has it.
func (r *symmetricRun) isHead() (bool, error) {
	ip := net.ParseIP(r.host)
	if ip == nil || r.nodes > 1 && ip.IsLoopback() {
		return false, nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("list this machine's addresses: %w", err)
	}
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	}) || ip.IsLoopback(), nil
}

func (r *symmetricRun) run(ctx context.Context) error {
	if a, ok := session.Newest(session.TempDir()); ok {
		return fmt.Errorf("a node of the cluster at %s runs here already: end it by `ray stop`", a.Address)
	}
	head, err := r.isHead()
	if err != nil {
		return err
	}
	if head {
		return r.asHead(ctx)
	}
	r.say("On worker node. Connecting to Ray cluster at %s...", r.address)
	if err := r.await(ctx, "the head did not answer", func(nodes []spec.Node) bool { return true }); err != nil {
		return err
	}
	r.start.address, r.start.block = r.address, true
	return runStart(ctx, r.start, r.out, r.out)
}

func (r *symmetricRun) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.out, format+"\n", args...)
}

// asHead runs the cluster around the command. The daemon ends with this
// process, however that ends.
func (r *symmetricRun) asHead(ctx context.Context) error {
	r.say("On head node. Starting Ray cluster head...")
	r.start.head, r.start.nodeIP, r.start.port = true, r.host, r.port
	plan, err := planStart(r.start)
	if err != nil {
		return err
	}
	d, err := launch(plan, true)
	if err != nil {
		return err
	}
	a, err := d.wait(ctx)
	if err != nil {
		return err
	}
	defer func() { r.endCluster(d, a.Address) }()
	r.say("Head node started.\n=======================")
	if r.nodes > 1 {
		enough := func(nodes []spec.Node) bool { return len(nodes) >= r.nodes }
		if err := r.await(ctx, fmt.Sprintf("fewer than %d nodes joined", r.nodes), enough); err != nil {
			return err
		}
	}
	r.say("Running command on head node: %s\n=======================", strings.Join(r.entrypoint, " "))
	err = runEntrypoint(ctx, r.entrypoint, a.Address)
	r.say("=======================")
	return err
}

// endCluster lets every node leave, then ends the head's machine.
func (r *symmetricRun) endCluster(d *daemon, address string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = callHead(ctx, address, "cluster.shutdown", struct{}{}, nil) // it may be gone already
	_ = d.life.Close()
	d.end()
}

// await asks the head for its nodes until they are as wanted.
func (r *symmetricRun) await(ctx context.Context, failure string, wanted func([]spec.Node) bool) error {
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	seen, last := -1, error(nil)
	for {
		var nodes []spec.Node
		if last = callHead(ctx, r.address, "nodes.list", struct{}{}, &nodes); last == nil {
			nodes = slices.DeleteFunc(nodes, func(n spec.Node) bool { return n.State != spec.NodeAlive })
			if wanted(nodes) {
				return nil
			}
			if len(nodes) != seen {
				seen = len(nodes)
				r.say("Waiting for nodes to start... %d/%d nodes started", seen, r.nodes)
			}
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			if last != nil {
				return fmt.Errorf("%s within %s (RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT): %w", failure, r.wait, last)
			}
			return fmt.Errorf("%s within %s (RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT)", failure, r.wait)
		}
	}
}

// runEntrypoint runs the command in this terminal and passes its status on.
func runEntrypoint(ctx context.Context, command []string, address string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "RAY_ADDRESS="+address)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		_, _ = fmt.Fprintf(os.Stderr, "The command was killed by signal %s.\n", status.Signal())
		return exitWith(128 + int(status.Signal()))
	}
	_, _ = fmt.Fprintf(os.Stderr, "Command failed with return code %d\n", exit.ExitCode())
	return exitWith(exit.ExitCode())
}
