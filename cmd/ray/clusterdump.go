package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/launcher"
	"ray/internal/sshx"
)

// dumped is one machine's archive.
type dumped struct {
	name string
	data []byte
	err  error
}

// clusterDumpCmd is `ray cluster-dump [FILE]`.
func clusterDumpCmd() *cobra.Command {
	var f launchFlags
	var d dumpFlags
	var hosts, user, key, container string
	var local bool
	cmd := &cobra.Command{
		Use:   "cluster-dump [CLUSTER_CONFIG_FILE]",
		Short: "Collect logs and state of a cluster's nodes in an archive.",
		Long: `Collect logs, package lists and processes of all nodes of a cluster in one
archive, a directory for each node. The cluster is that of FILE or the current
one; --host names machines instead. A node that cannot be asked is reported and
left out.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			name, ask := "", []func() dumped(nil)
			if hosts == "" && (!local || len(args) > 0) {
				_, c, rest, err := f.open(cmd, args, cluster.Override{})
				if err != nil {
					return err
				}
				if len(rest) > 0 {
					return usagef("%q is no cluster file: its name must end in .yaml, .yml or .example.", rest[0])
				}
				name = c.Config.Name
				if ask, err = dumpNodes(ctx, c, &d); err != nil {
					return err
				}
			}
			for host := range strings.SplitSeq(hosts, ",") {
				if host = strings.TrimSpace(host); host != "" {
					ask = append(ask, func() dumped { return dumpHost(ctx, host, user, key, container, &d) })
				}
			}
			if local {
				ask = append(ask, func() dumped {
					var out bytes.Buffer
					err := d.write(ctx, &out)
					return dumped{"local", out.Bytes(), err}
				})
			}
			if d.output == "" {
				d.output = "collected_logs_" + dumpTime() + ".tar.gz"
				if name != "" {
					d.output = name + "_" + dumpTime() + ".tar.gz"
				}
			}
			return gather(cmd, d.output, ask)
		},
	}
	f.bind(cmd)
	d.bind(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&hosts, "host", "h", "", "addresses of machines instead of a cluster, separated by commas")
	flags.StringVarP(&user, "ssh-user", "U", "", "user to log in as; with --host")
	flags.StringVarP(&key, "ssh-key", "K", "", "private key to log in with; with --host")
	flags.StringVarP(&container, "docker", "d", "", "container on the machines; with --host")
	flags.BoolVarP(&local, "local", "L", false, "this machine too, or alone where no file is given")
	flags.Bool("help", false, "help for cluster-dump") // -h is --host here
	return cmd
}

// dumpNodes asks every node of a cluster.
func dumpNodes(ctx context.Context, c *launcher.Cluster, d *dumpFlags) ([]func() dumped, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("cluster %s %w", c.Config.Name, launcher.ErrNoHead)
	}
	var ask []func() dumped
	for _, n := range nodes {
		ask = append(ask, func() dumped {
			var out, errOut bytes.Buffer
			err := c.ExecOn(ctx, n.ID, "ray local-dump --stream"+d.arguments(), launcher.Streams{Out: &out, Err: &errOut})
			if err != nil {
				err = fmt.Errorf("%w %s", err, strings.TrimSpace(errOut.String()))
			}
			return dumped{path.Join(n.Kind, strings.ReplaceAll(n.ID, "/", "_")), out.Bytes(), err}
		})
	}
	return ask, nil
}

// dumpHost asks one machine by its address.
func dumpHost(ctx context.Context, host, user, key, container string, d *dumpFlags) dumped {
	root, err := launcher.StateRoot()
	if err != nil {
		return dumped{host, nil, err}
	}
	var h sshx.Host = sshx.NewSSH(sshx.Config{Address: host, User: user, KeyFile: cluster.ExpandHome(key), KnownHosts: filepath.Join(root, "known_hosts")})
	if container != "" {
		h = &sshx.Container{Outer: h, Engine: "docker", Name: container, Env: map[string]string{"PATH": "~/.ray/bin"}}
	}
	defer h.Close()
	var out, errOut bytes.Buffer
	err = h.Run(ctx, sshx.Command{Line: `PATH=~/.ray/bin:$PATH; ray local-dump --stream` + d.arguments(), Stdout: &out, Stderr: &errOut, Login: true})
	if err != nil {
		err = fmt.Errorf("%w %s", err, strings.TrimSpace(errOut.String()))
	}
	return dumped{host, out.Bytes(), err}
}

// gather asks all machines at once and packs what they answer.
func gather(cmd *cobra.Command, output string, ask []func() dumped) error {
	all := make([]dumped, len(ask))
	var wg sync.WaitGroup
	for i, do := range ask {
		wg.Go(func() { all[i] = do() })
	}
	wg.Wait()
	got := 0
	var failed error
	for _, a := range all {
		if a.err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", a.name, a.err))
			continue
		}
		got++
	}
	if got == 0 {
		return errors.Join(errors.New("nothing was collected"), failed)
	}
	err := toFile(output, func(w io.Writer) error {
		zip := gzip.NewWriter(w)
		pack := tar.NewWriter(zip)
		for _, a := range all {
			if a.err != nil {
				continue
			}
			if err := repack(pack, a); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
		return errors.Join(pack.Close(), zip.Close())
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "Wrote %s with %d node(s)\n", output, got)
	return failed
}

// repack puts a machine's files into a directory of its name.
func repack(pack *tar.Writer, a dumped) error {
	zip, err := gzip.NewReader(bytes.NewReader(a.data))
	if err != nil {
		return err
	}
	from := tar.NewReader(zip)
	for {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Join("/", h.Name)[1:] // never out of the directory
		if err := pack.WriteHeader(&tar.Header{Name: path.Join(a.name, name), Mode: 0o600, Size: h.Size, ModTime: orNow(h.ModTime)}); err != nil {
			return err
		}
		if _, err := io.Copy(pack, from); err != nil {
			return err
		}
	}
}

func orNow(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}
