package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/launcher"
)

// clusterCmd makes a verb that takes a cluster file and at most most words
// besides.
func clusterCmd(use, short string, most int, do func(*cobra.Command, *launcher.Cluster, []string) error) (*cobra.Command, *launchFlags) {
	f := &launchFlags{}
	cmd := &cobra.Command{Use: use, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		if _, rest := launcher.Split(args); len(rest) > most {
			return usagef("Got unexpected extra argument (%s)", rest[most])
		}
		_, c, rest, err := f.open(cmd, args, cluster.Override{})
		if err != nil {
			return err
		}
		return do(cmd, c, rest)
	}}
	f.bind(cmd)
	return cmd, f
}

// getWorkerIPsCmd is `ray get-worker-ips [FILE]`.
func getWorkerIPsCmd() *cobra.Command {
	cmd, _ := clusterCmd("get-worker-ips [FILE]", "Print the addresses of a cluster's workers, one a line.", 0,
		func(cmd *cobra.Command, c *launcher.Cluster, _ []string) error {
			ips, err := c.WorkerIPs(cmd.Context())
			for _, ip := range ips {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), ip)
			}
			return err
		})
	return cmd
}

// rsyncUpCmd is `ray rsync-up [FILE] [SOURCE TARGET]`.
func rsyncUpCmd() *cobra.Command {
	var all bool
	cmd, _ := clusterCmd("rsync-up [FILE] [SOURCE TARGET]", "Copy files to a cluster's head, or its file_mounts again.", 2,
		func(cmd *cobra.Command, c *launcher.Cluster, rest []string) error {
			switch len(rest) {
			case 0:
				return c.SyncUp(cmd.Context(), "", "", all)
			case 2:
				return c.SyncUp(cmd.Context(), rest[0], rest[1], all)
			}
			return usagef("Missing argument 'TARGET'.")
		})
	cmd.Flags().BoolVarP(&all, "all-nodes", "A", false, "copy to the workers too")
	return cmd
}

// rsyncDownCmd is `ray rsync-down [FILE] SOURCE TARGET`.
func rsyncDownCmd() *cobra.Command {
	cmd, _ := clusterCmd("rsync-down [FILE] SOURCE TARGET", "Copy files from a cluster's head.", 2,
		func(cmd *cobra.Command, c *launcher.Cluster, rest []string) error {
			if len(rest) != 2 {
				return usagef("SOURCE and TARGET are needed: what to copy from the head, and where to.")
			}
			return c.SyncDown(cmd.Context(), rest[0], rest[1])
		})
	return cmd
}

// monitorLogs are the files of the head that tell what the autoscaler does.
const monitorLogs = "gcs_server.err"

// monitorCmd is `ray monitor [FILE]`.
func monitorCmd() *cobra.Command {
	var lines int
	cmd, _ := clusterCmd("monitor [FILE]", "Follow the autoscaler's log on a cluster's head.", 0,
		func(cmd *cobra.Command, c *launcher.Cluster, _ []string) error {
			line := fmt.Sprintf(`tail -n %d -F "${RAY_TMPDIR:-/tmp/ray-$(id -u)}"/session_latest/logs/%s`, lines, monitorLogs)
			return remoteStatus(cmd, "command", c.Exec(cmd.Context(), line, nil, streams(cmd)))
		})
	cmd.Flags().IntVar(&lines, "lines", 100, "how many lines to begin with")
	return cmd
}

// dashboardCmd is `ray dashboard [FILE]`.
func dashboardCmd() *cobra.Command {
	var port, remote int
	cmd, _ := clusterCmd("dashboard [FILE]", "Reach a cluster's dashboard from this machine, until Ctrl-C.", 0,
		func(cmd *cobra.Command, c *launcher.Cluster, _ []string) error {
			done, err := c.ForwardDashboard(cmd.Context(), port, remote)
			if err != nil {
				return err
			}
			defer done()
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "The dashboard is at http://localhost:%d (Ctrl-C ends that).\nIt wants the cluster's token, which is in %s\n", port, c.TokenPath())
			<-cmd.Context().Done()
			return nil
		})
	cmd.Flags().IntVarP(&port, "port", "p", 8265, "port on this machine")
	cmd.Flags().IntVar(&remote, "remote-port", 0, "port of the dashboard on the head (default: the one it says)")
	return cmd
}

// killRandomNodeCmd is `ray kill-random-node [FILE]`.
func killRandomNodeCmd() *cobra.Command {
	var hard bool
	cmd, f := clusterCmd("kill-random-node [FILE]", "Kill a worker chosen by chance, to see what happens.", 0,
		func(cmd *cobra.Command, c *launcher.Cluster, _ []string) error {
			return c.KillRandom(cmd.Context(), hard)
		})
	f.bindYes(cmd)
	cmd.Flags().BoolVar(&hard, "hard", false, "end its machine, not only its node")
	return cmd
}

// sshConfigCmd is `ray ssh-config [FILE]`.
func sshConfigCmd() *cobra.Command {
	cmd, _ := clusterCmd("ssh-config [FILE]", "Print entries for ~/.ssh/config, one for each node of a cluster.", 0,
		func(cmd *cobra.Command, c *launcher.Cluster, _ []string) error {
			text, err := c.SSHConfig(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		})
	return cmd
}
