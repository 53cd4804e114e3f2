package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/launcher"
	"ray/internal/session"
)

// dumpFlags say what is collected.
type dumpFlags struct {
	logs, debugState, pip, processes, verbose bool
	output, temp                              string
}

func (d *dumpFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	for _, f := range []struct {
		to         *bool
		name, help string
	}{
		{&d.logs, "logs", "log files of the newest session"}, {&d.debugState, "debug-state", "debug_state files of the newest session"},
		{&d.pip, "pip", "what `pip freeze` prints"}, {&d.processes, "processes", "the processes that run"},
		{&d.verbose, "processes-verbose", "whole command lines of processes"},
	} {
		flags.BoolVar(f.to, f.name, true, "collect "+f.help)
		no := flags.VarPF((*negated)(f.to), "no-"+f.name, "", "leave out "+f.help)
		no.NoOptDefVal = "true"
	}
	flags.StringVarP(&d.output, "output", "o", "", "the archive to write (default: named after the cluster or the machine, and the time)")
	flags.StringVarP(&d.temp, "tempfile", "T", "", "accepted and ignored: nothing temporary is needed")
	_ = flags.MarkHidden("tempfile")
}

// negated is a flag that clears another one.
type negated bool

func (n *negated) String() string   { return "false" }
func (n *negated) Type() string     { return "bool" }
func (n *negated) Set(string) error { *n = false; return nil }

// arguments repeat the flags for another machine.
func (d *dumpFlags) arguments() string {
	line := ""
	for name, on := range map[string]bool{"logs": d.logs, "debug-state": d.debugState, "pip": d.pip, "processes": d.processes, "processes-verbose": d.verbose} {
		if !on {
			line += " --no-" + name
		}
	}
	return line
}

// localDumpCmd is `ray local-dump`: one machine's part of cluster-dump.
func localDumpCmd() *cobra.Command {
	var d dumpFlags
	var stream bool
	cmd := &cobra.Command{
		Use: "local-dump", Short: "Collect logs and state of this machine in an archive.", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if stream && d.output != "" {
				return usagef("--stream and --output exclude each other.")
			}
			if stream {
				return d.write(cmd.Context(), cmd.OutOrStdout())
			}
			name := d.output
			if name == "" {
				name = "collected_logs_" + dumpTime() + ".tar.gz"
			}
			if err := toFile(name, func(w io.Writer) error { return d.write(cmd.Context(), w) }); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Wrote %s\n", name)
			return err
		},
	}
	d.bind(cmd)
	cmd.Flags().BoolVarP(&stream, "stream", "S", false, "write the archive to standard output")
	return cmd
}

func dumpTime() string { return time.Now().Format("2006-01-02_15-04-05") }

// toFile writes a private file, and leaves none behind if that fails.
func toFile(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// write packs what was asked for.
func (d *dumpFlags) write(ctx context.Context, w io.Writer) error {
	zip := gzip.NewWriter(w)
	pack := tar.NewWriter(zip)
	root := os.Getenv("RAY_TMPDIR")
	if root == "" {
		root = session.Root()
	}
	latest, err := filepath.EvalSymlinks(filepath.Join(root, "session_latest"))
	if err != nil {
		latest = "" // nothing has run here
	}
	if d.logs && latest != "" {
		err = packTree(pack, filepath.Join(latest, "logs"), "logs")
	} else {
		err = nil
	}
	if d.debugState && latest != "" && err == nil {
		err = packMatches(pack, filepath.Join(latest, "debug_state*"), "debug_state")
	}
	if d.pip {
		err = errors.Join(err, packOutput(ctx, pack, "pip_packages.txt", launcher.Python(os.Args[0]), "-m", "pip", "freeze"))
	}
	if d.processes {
		columns := "pid,ppid,user,pcpu,rss,etime,comm"
		if d.verbose {
			columns = "pid,ppid,user,pcpu,rss,etime,args"
		}
		err = errors.Join(err, packOutput(ctx, pack, "processes.txt", "ps", "-e", "-ww", "-o", columns))
	}
	return errors.Join(err, pack.Close(), zip.Close())
}

func packMatches(pack *tar.Writer, pattern, under string) error {
	names, err := filepath.Glob(pattern)
	for _, name := range names {
		err = errors.Join(err, packTree(pack, name, filepath.Join(under, filepath.Base(name))))
	}
	return err
}

// packTree packs files below root. Those that grow meanwhile are packed up to
// the size that they had; those that go meanwhile are left out.
func packTree(pack *tar.Writer, root, under string) error {
	return filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return nil
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil
		}
		h := &tar.Header{Name: filepath.ToSlash(filepath.Join(under, rel)), Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}
		if err := pack.WriteHeader(h); err != nil {
			return err
		}
		n, err := io.Copy(pack, io.LimitReader(f, info.Size()))
		if err == nil && n < info.Size() { // it was cut meanwhile
			_, err = io.CopyN(pack, zeros{}, info.Size()-n)
		}
		return err
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// packOutput packs what a program prints; that it fails is packed too.
func packOutput(ctx context.Context, pack *tar.Writer, name, program string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		_, _ = fmt.Fprintf(&out, "%s: %v\n", program, err)
	}
	if err := pack.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(out.Len()), ModTime: time.Now()}); err != nil {
		return err
	}
	_, err := pack.Write(out.Bytes())
	return err
}
