package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/session"
)

// startTimeout is how long a daemon may take until drivers can connect to it,
// beside waiting for the head of another machine.
const startTimeout = 60 * time.Second

func startCmd() *cobra.Command {
	o := newStartOptions()
	cmd := &cobra.Command{
		Use:   "start [OPTIONS]",
		Short: "Start a head, or join a cluster, on this machine.",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmp.Or(checkSupported(cmd.Flags()), o.checkHeadOnly(cmd.Flags())); err != nil {
				return err
			}
			if err := startHook(cmd, o); err != nil {
				return err
			}
			return runStart(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.bind(cmd.Flags())
	return cmd
}

func runStart(ctx context.Context, o *startOptions, out, errOut io.Writer) error {
	plan, err := planStart(o)
	if err != nil {
		return err
	}
	d, err := launch(plan, o.block)
	if err != nil {
		return err
	}
	stop := d.tellOfWaiting(ctx, plan, errOut)
	a, err := d.wait(ctx)
	stop()
	if err != nil {
		return err
	}
	printStarted(out, plan, a)
	if !o.block {
		return nil
	}
	_, _ = fmt.Fprintln(out, "\n--block\n  This command stays in the foreground until the node ends; Ctrl-C or SIGTERM ends the node.")
	return d.block(ctx)
}

// daemon is a node daemon that this process has started.
type daemon struct {
	cmd   *exec.Cmd
	ready *os.File // gets the announcement, or ends without one
	life  *os.File // --block: the daemon ends when this closes
	log   string   // file of its stderr
	ended chan error
	limit time.Duration // until drivers can connect to it
}

// launch starts the daemon in a session of its own, so that it outlives this
// terminal; with attached it ends with this process, however that ends.
func launch(plan *startPlan, attached bool) (*daemon, error) {
	config := filepath.Join(plan.dir.Path, "node.json")
	text, err := json.Marshal(plan.node)
	if err != nil {
		return nil, err
	}
	if err := session.WriteFile(config, text); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's file: %w", err)
	}
	d := &daemon{cmd: exec.Command(self, "__node", "--config", config), ended: make(chan error, 1),
		limit: startTimeout + time.Duration(plan.node.JoinSeconds)*time.Second}
	d.cmd.Dir = "/"
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var theirs []*os.File // the daemon's ends, ours to close once it runs
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	if theirs, err = d.connect(plan.dir.Logs(), attached); err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the node daemon: %w", err)
	}
	go func() { d.ended <- d.cmd.Wait() }()
	return d, nil
}

// connect gives the daemon its log files and the pipes of launch.
func (d *daemon) connect(logs string, attached bool) (theirs []*os.File, err error) {
	var files [2]*os.File
	for i, name := range []string{"raylet.out", "raylet.err"} {
		if files[i], err = appendLog(logs, name); err != nil {
			return theirs, fmt.Errorf("open the daemon's log: %w", err)
		}
		theirs = append(theirs, files[i])
	}
	d.cmd.Stdout, d.cmd.Stderr, d.log = files[0], files[1], files[1].Name()
	ready, readyEnd, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	theirs = append(theirs, readyEnd)
	d.ready = ready
	d.cmd.Args = append(d.cmd.Args, "--ready-fd", "3")
	d.cmd.ExtraFiles = append(d.cmd.ExtraFiles, readyEnd)
	if !attached {
		return theirs, nil
	}
	lifeEnd, life, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	theirs = append(theirs, lifeEnd)
	d.life = life
	d.cmd.Args = append(d.cmd.Args, "--until-fd", "4")
	d.cmd.ExtraFiles = append(d.cmd.ExtraFiles, lifeEnd)
	return theirs, nil
}

func appendLog(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// wait returns once drivers can connect. If the daemon fails, or time is up,
// nothing of it is left and the error holds what it said.
func (d *daemon) wait(ctx context.Context) (session.Announcement, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	line := make(chan []byte, 1)
	go func() {
		text, _ := bufio.NewReader(d.ready).ReadBytes('\n')
		line <- text
	}()
	defer func() { _ = d.ready.Close() }()
	var a session.Announcement
	select {
	case text := <-line:
		if len(text) > 0 {
			if err := json.Unmarshal(text, &a); err != nil {
				return a, fmt.Errorf("the daemon's announcement is not valid: %w", err)
			}
			return a, nil
		}
		<-d.ended // it closed the pipe without a line: it is ending
		return a, d.failure("the node daemon ended before it was up")
	case <-ctx.Done():
		d.end()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return a, d.failure(fmt.Sprintf("the node daemon was not up after %s", d.limit))
		}
		return a, ctx.Err()
	}
}

// end stops the daemon, gently at first.
func (d *daemon) end() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(10 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
}

// failure is an error that shows why, as the logs of the daemon and, on a
// head's machine, of the head tell it.
func (d *daemon) failure(what string) error {
	for _, log := range []string{filepath.Join(filepath.Dir(d.log), "gcs_server.err"), d.log} {
		text, _ := os.ReadFile(log)
		for line := range strings.Lines(string(text)) {
			reason, ok := strings.CutPrefix(line, "Error: ")
			if ok || strings.HasPrefix(line, "panic: ") {
				if !ok {
					reason = line
				}
				return fmt.Errorf("%s: %s\n(its log: %s)", what, strings.TrimSpace(reason), log)
			}
		}
	}
	return withLogEnd(what, d.log)
}

// withLogEnd is an error of a process that shows the last lines of its log.
func withLogEnd(what, log string) error {
	const shown = 15
	text, _ := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) > shown {
		lines = lines[len(lines)-shown:]
	}
	if tail := strings.Join(lines, "\n  "); tail != "" {
		return fmt.Errorf("%s. The end of its log %s:\n  %s", what, log, tail)
	}
	return fmt.Errorf("%s and wrote nothing to its log %s", what, log)
}

// block stays until the daemon ends. Ended by a signal to this process is as
// it should be; anything else is a failure.
func (d *daemon) block(ctx context.Context) error {
	select {
	case <-ctx.Done():
		_ = d.life.Close()
		d.end()
		return nil
	case err := <-d.ended:
		if err == nil {
			return nil // shut down through the head, or by ray stop
		}
		return d.failure("the node daemon ended unexpectedly (" + err.Error() + ")")
	}
}

// printStarted tells what runs now and what to do with it. The line with
// --address='…' is read by scripts.
func printStarted(out io.Writer, plan *startPlan, a session.Announcement) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Local node IP: %s\n\n--------------------\nRay runtime started.\n--------------------\n", a.NodeIP)
	if plan.tokenMade != "" {
		fmt.Fprintf(&b, "\nA token was made for this cluster: %s\n  Other machines need a copy of this file (mode 0600) to join.\n", plan.tokenMade)
	} else if a.TokenPath != "" {
		fmt.Fprintf(&b, "\nToken: %s\n", a.TokenPath)
	}
	for _, note := range plan.notes {
		fmt.Fprintf(&b, "\nNote: %s\n", note)
	}
	if a.Head {
		printNextSteps(&b, a)
	}
	fmt.Fprint(&b, "\n  To end it, run\n    ray stop\n")
	_, _ = out.Write(b.Bytes())
}

func printNextSteps(b *bytes.Buffer, a session.Announcement) {
	fmt.Fprintf(b, "\nNext steps\n  To add another node to this cluster, run\n    ray start --address='%s'\n", a.Address)
	fmt.Fprint(b, "\n  To use it from Python:\n    import ray\n    ray.init()\n")
	if a.Dashboard != "" {
		fmt.Fprintf(b, "\n  To submit a job:\n    RAY_API_SERVER_ADDRESS='http://%s' ray job submit --working-dir . -- python my_script.py\n", a.Dashboard)
		fmt.Fprintf(b, "\n  The dashboard is at\n    http://%s\n", a.Dashboard)
	}
	fmt.Fprint(b, "\n  To see its state, run\n    ray status\n")
}
