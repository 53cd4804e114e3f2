package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/head"
	"ray/internal/logfile"
	"ray/internal/session"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node"
	"ray/python"
)

// nodeCmd is `ray __node`: the node daemon, started by `ray start`.
func nodeCmd() *cobra.Command {
	var file string
	var readyFD, untilFD int
	cmd := &cobra.Command{
		Use: "__node", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var c node.Config
			if err := readJSON(file, &c); err != nil {
				return err
			}
			ctx := cmd.Context()
			if untilFD > 2 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
				go cancelAtEOF(os.NewFile(uintptr(untilFD), "owner"), cancel)
			}
			var ready *os.File
			if readyFD > 2 {
				ready = os.NewFile(uintptr(readyFD), "ready")
			}
			return runNode(ctx, c, ready)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "file with the daemon's configuration")
	cmd.Flags().IntVar(&readyFD, "ready-fd", 0, "descriptor that gets the announcement")
	cmd.Flags().IntVar(&untilFD, "until-fd", 0, "descriptor whose end of file ends the daemon")
	return cmd
}

// headCmd is `ray __head`: the head process, started by its node daemon.
func headCmd() *cobra.Command {
	var file, dir string
	var withDaemon bool
	cmd := &cobra.Command{
		Use: "__head", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := head.ReadConfig(file)
			if err != nil {
				return err
			}
			signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
			c.Log = daemonLog(dir, "gcs_server.err", "")
			if dir == "" {
				return head.Run(cmd.Context(), c)
			}
			lock, err := session.LockHead(dir)
			if err != nil {
				return fmt.Errorf("become the head of this session: %w", err)
			}
			defer lock.Release()
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go endWithoutDaemon(ctx, cancel, dir, withDaemon)
			return head.Run(ctx, c)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "file with the head's configuration")
	cmd.Flags().StringVar(&dir, "daemon-session", "", "session directory whose daemon the head belongs to")
	cmd.Flags().BoolVar(&withDaemon, "with-daemon", false, "end at once with the daemon")
	return cmd
}

// orphanGrace is how long the head of a cluster serves without the daemon of
// its machine: long enough for whoever watches over the machine to start one.
const orphanGrace = 30 * time.Second

// endWithoutDaemon ends the head when its daemon has ended without ending it,
// and no other daemon has taken the session over. It waits inside the kernel,
// so the goroutine lasts as long as the process; it holds nothing.
func endWithoutDaemon(ctx context.Context, end context.CancelFunc, dir string, atOnce bool) {
	for {
		if err := session.AwaitDaemonEnd(dir); err != nil {
			slog.Warn("the daemon's lock cannot be watched: the head will not notice its end", "err", err)
			return
		}
		if atOnce {
			slog.Info("the daemon that this head belongs to has ended: the head ends too")
			end()
			return
		}
		slog.Warn("the daemon of this machine has ended; the head waits for another", "grace", orphanGrace)
		if !adopted(ctx, dir) {
			slog.Info("no daemon has taken this session over: the head ends")
			end()
			return
		}
		slog.Info("a daemon has taken this session over")
	}
}

// adopted tells whether a daemon takes the session's lock within the grace.
func adopted(ctx context.Context, dir string) bool {
	ctx, cancel := context.WithTimeout(ctx, orphanGrace)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, ok := session.DaemonOf(dir); ok {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// localCmd is `ray __local`: the cluster that ray.init() starts and owns.
func localCmd() *cobra.Command {
	return &cobra.Command{
		Use: "__local", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runLocal(cmd.Context(), os.Stdin, os.Stdout) },
	}
}

// runNode is the node daemon in this process. One line goes to ready when
// clients can connect.
func runNode(ctx context.Context, c node.Config, ready *os.File) error {
	// Ctrl-C in the terminal of whoever started us is not meant for us.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
	if err := completeNode(&c); err != nil {
		return err
	}
	lock, err := session.LockNode(c.SessionDir)
	if err != nil {
		return err
	}
	defer lock.Release()
	p := &publisher{started: time.Now(), ready: ready}
	c.Announce, c.Retract = p.announce, p.retract
	c.Log = daemonLog(c.SessionDir, "raylet.err", c.LogLevel)
	return node.Run(ctx, c)
}

// completeNode fills in what does not belong into a file: the token, and
// where this binary keeps its Python package.
func completeNode(c *node.Config) error {
	if err := session.EnsureRoot(); err != nil {
		return err
	}
	if c.PackageDir == "" {
		dir, err := python.Extract(session.Root())
		if err != nil {
			return err
		}
		c.PackageDir = dir
	}
	if c.Token != "" || c.AuthDisabled {
		return nil
	}
	var err error
	if c.TokenPath != "" {
		c.Token, err = readToken(c.TokenPath)
		return err
	}
	auth, err := wire.LoadToken()
	c.Token, c.TokenPath = auth.Token, auth.Path
	return err
}

// publisher turns a daemon's announcements into session files and tells the
// process that waits for the first one.
type publisher struct {
	started time.Time

	mu    sync.Mutex
	ready *os.File // nil once told
	last  session.Announcement
}

func (p *publisher) announce(n node.Announcement) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = session.Announcement{
		ClusterID: n.ClusterID, ClusterName: n.ClusterName, NodeID: n.NodeID.String(), NodeIP: n.NodeIP,
		Head: n.Head, Address: n.Address, NodeAddress: n.NodeAddress, Socket: n.Socket,
		SessionDir: n.SessionDir, SessionName: n.SessionName, TempDir: n.TmpDir, StartedUnder: session.TempDir(),
		Process: session.Self(), Dashboard: n.Dashboard, MetricsAddress: n.MetricsAddress,
		TokenPath: n.TokenPath, StartedMS: p.started.UnixMilli(), JobOwner: n.JobOwner,
	}
	if err := session.Publish(p.last); err != nil {
		return err
	}
	if p.ready == nil {
		return nil
	}
	err := json.NewEncoder(p.ready).Encode(p.last)
	// Whoever waits may be gone already: that is no failure of the daemon.
	_ = p.ready.Close()
	p.ready = nil
	if err != nil {
		slog.Warn("nobody reads the announcement", "err", err)
	}
	return nil
}

func (p *publisher) retract(spec.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.NodeID == "" {
		return
	}
	if err := session.Withdraw(p.last); err != nil {
		slog.Warn("withdraw the announcement", "err", err)
	}
}

// cancelAtEOF ends the daemon with its owner. The read cannot be interrupted,
// so the goroutine lasts as long as the process; it holds nothing.
func cancelAtEOF(f *os.File, cancel context.CancelFunc) {
	var b [256]byte
	for {
		if _, err := f.Read(b[:]); err != nil {
			cancel()
			return
		}
	}
}

// daemonLog makes the log of this process, which goes to stderr. When that is
// a file of the session's logs, it is kept within bounds.
func daemonLog(sessionDir, name, level string) *slog.Logger {
	var out io.Writer = os.Stderr
	if w := logfile.Own(filepath.Join(sessionDir, "logs", name), os.Stderr, logfile.FromEnv()); w != nil {
		out = w
	}
	var l slog.Level
	if level == "" {
		level = os.Getenv("RAY_BACKEND_LOG_LEVEL")
	}
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: l}))
	slog.SetDefault(log)
	return log
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("configuration %s: %w", filepath.Base(path), err)
	}
	return nil
}
