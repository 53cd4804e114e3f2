package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ray/internal/session"
	"ray/internal/statustext"
	"ray/internal/tui"
	"ray/internal/wire"
)

// clusterTarget finds the dashboard of a launched cluster: file is a cluster
// file, or "" for the current cluster. closeTarget ends what was opened to
// reach it. ok is false if there is no current cluster.
var clusterTarget = launchedTarget

// statusTarget is where status is asked for: a dashboard, or the head itself
// where there is none or it cannot be reached from here.
type statusTarget struct {
	url   string // http://host:port
	token string

	head string // host:port, if url is ""
	auth wire.Auth
}

type statusOptions struct {
	address string
	verbose bool
	asJSON  bool
	text    bool
}

func statusCmd() *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use:   "status [CLUSTER.yaml]",
		Short: "Show nodes, resources, what waits and why.",
		Long: "Show a cluster: the one of the file, else --address or RAY_ADDRESS, else the current cluster, else the one\n" +
			"that runs on this machine. On a terminal this is a live view; into a pipe it is text.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("Got unexpected extra argument (%s)", strings.Join(args[1:], " "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runStatus(cmd, o, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.address, "address", "", "head's host:port, or http://host:port of its dashboard")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "add each node's use and activity, reasons, and the age of the data")
	flags.BoolVar(&o.asJSON, "json", false, "print the status as JSON")
	flags.BoolVar(&o.text, "text", false, "print text on a terminal too")
	// Upstream's names for what the token does here.
	flags.String("redis_password", "", "accepted and ignored")
	_ = flags.MarkHidden("redis_password")
	return cmd
}

func runStatus(cmd *cobra.Command, o *statusOptions, args []string) error {
	ctx := cmd.Context()
	file := ""
	if len(args) == 1 {
		file = args[0]
	}
	target, closeTarget, err := findTarget(ctx, file, o.address)
	if err != nil {
		return err
	}
	defer closeTarget()
	source := newDashboard(target)
	if !o.asJSON && !o.verbose && !o.text && onTerminal(cmd.InOrStdin(), cmd.OutOrStdout()) {
		return tui.Run(ctx, source, cmd.InOrStdin(), cmd.OutOrStdout())
	}
	return printStatus(ctx, source, cmd.OutOrStdout(), o)
}

func printStatus(ctx context.Context, source *dashboard, out io.Writer, o *statusOptions) error {
	asked := time.Now()
	status, err := source.Status(ctx)
	if errors.Is(err, errNoStatusYet) {
		_, err = fmt.Fprintln(out, statustext.NoStatus)
		return err
	}
	if err != nil {
		return err
	}
	if o.asJSON {
		return printJSON(out, status)
	}
	now := time.Now()
	_, err = fmt.Fprintln(out, statustext.RenderWith(status, statustext.Options{
		Verbose: o.verbose, RequestTime: now.Sub(asked), Now: now,
	}))
	return err
}

// onTerminal tells whether a person looks at the output and can press keys.
func onTerminal(in io.Reader, out io.Writer) bool {
	i, inOK := in.(*os.File)
	o, outOK := out.(*os.File)
	return inOK && outOK && term.IsTerminal(int(i.Fd())) && term.IsTerminal(int(o.Fd())) && os.Getenv("TERM") != "dumb"
}

// findTarget chooses the cluster, see statusCmd.
func findTarget(ctx context.Context, file, address string) (statusTarget, func(), error) {
	nothing := func() {}
	if file != "" {
		if address != "" {
			return statusTarget{}, nothing, usagef("Give a cluster file or --address, not both.")
		}
		t, closeTarget, _, err := clusterTarget(ctx, file)
		return t, orNothing(closeTarget), err
	}
	if address == "" {
		address = os.Getenv("RAY_ADDRESS")
	}
	if address == "" {
		if t, closeTarget, ok, err := clusterTarget(ctx, ""); ok || err != nil {
			return t, orNothing(closeTarget), err
		}
	}
	t, err := localTarget(address)
	return t, nothing, err
}

func orNothing(f func()) func() {
	if f == nil {
		return func() {}
	}
	return f
}

// localTarget finds a cluster with a daemon on this machine by the head's
// address ("" and "auto" mean any), or takes a dashboard's URL as it is.
func localTarget(address string) (statusTarget, error) {
	if strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://") {
		return withToken(statusTarget{url: strings.TrimSuffix(address, "/")}, "")
	}
	all, err := session.List()
	if err != nil {
		return statusTarget{}, err
	}
	var found []session.Announcement
	clusters := map[string]bool{}
	for _, a := range all {
		if address == "" || address == "auto" || a.Address == address || a.NodeAddress == address {
			found = append(found, a)
			clusters[a.ClusterID] = true
		}
	}
	switch {
	case len(found) == 0 && (address == "" || address == "auto"):
		return statusTarget{}, errors.New("no cluster runs on this machine: start one by `ray start --head` or `ray up CLUSTER.yaml`, or name one by --address")
	case len(found) == 0:
		auth, err := wire.LoadToken()
		return statusTarget{head: strings.TrimPrefix(address, "ray://"), auth: auth}, err
	}
	chosen := found[0]
	if len(clusters) > 1 {
		here, ok := headHere(found)
		if !ok {
			here, ok = session.Newest(session.TempDir())
		}
		if !ok {
			return statusTarget{}, fmt.Errorf("several clusters run on this machine: choose one by --address: %s", addresses(found))
		}
		chosen = here
	}
	for _, a := range found {
		if a.ClusterID == chosen.ClusterID && chosen.Dashboard == "" {
			chosen = a
		}
	}
	if chosen.Dashboard == "" {
		auth, err := wire.LoadToken()
		if (err != nil || !auth.Disabled) && chosen.TokenPath != "" {
			auth.Path = chosen.TokenPath
			auth.Token, err = readToken(chosen.TokenPath)
		}
		return statusTarget{head: chosen.Address, auth: auth}, err
	}
	return withToken(statusTarget{url: "http://" + chosen.Dashboard}, chosen.TokenPath)
}

func addresses(found []session.Announcement) string {
	var list []string
	for _, a := range found {
		if a.Head {
			list = append(list, a.Address)
		}
	}
	return strings.Join(list, ", ")
}

// withToken adds the token of the file, or the user's.
func withToken(t statusTarget, path string) (statusTarget, error) {
	if path == "" {
		var err error
		t.token, err = tokenFor("")
		return t, err
	}
	auth, err := wire.LoadToken()
	if err != nil || !auth.Disabled {
		auth.Token, err = readToken(path)
	}
	t.token = auth.Token
	return t, err
}
