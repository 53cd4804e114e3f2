package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// logOptions are the flags of `ray logs` and its verbs.
type logOptions struct {
	api              apiFlags
	nodeID, nodeIP   string
	id               string // of the actor, job or task
	pid, attempt     int
	follow, stderr   bool
	tail             int
	encoding, errors string
}

// logsCmd is `ray logs`: files of the cluster, or the output of one thing.
// Without a verb the argument is a file name, as in upstream.
func logsCmd() *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use: "logs [cluster|actor|job|task|worker] [FILE]", Short: "Print log files of the cluster, or what an actor, job, task or worker wrote.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return o.files(cmd, args) },
	}
	o.bind(cmd, true)
	cmd.AddCommand(logFilesCmd(),
		logsOf("actor", "Print what an actor wrote.", "actor_id"),
		logsOf("job", "Print what a submitted job's entrypoint wrote.", "submission_id"),
		logsOf("task", "Print what a task wrote.", "task_id"),
		logsOf("worker", "Print what a worker process wrote.", ""))
	return cmd
}

func logFilesCmd() *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use: "cluster [FILE]", Short: "Print a log file, or list those that match.", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return o.files(cmd, args) },
	}
	o.bind(cmd, true)
	return cmd
}

func (o *logOptions) bind(cmd *cobra.Command, node bool) {
	f := cmd.Flags()
	o.api.bind(f)
	f.BoolVarP(&o.follow, "follow", "f", false, "go on as more is written")
	f.IntVar(&o.tail, "tail", 1000, "last lines to print; -1 prints all")
	f.StringVar(&o.encoding, "encoding", "", "what the file is written in, such as latin-1 or utf-16 (default: its bytes are printed as they are)")
	f.Var(choice{[]string{"strict", "ignore", "replace", "backslashreplace"}, &o.errors, nil}, "encoding-errors",
		"what becomes of bytes that are not in the encoding: strict ends with an error")
	f.Float64("interval", 0, "accepted and ignored: what is written comes at once")
	_ = f.MarkHidden("interval")
	if node {
		f.StringVar(&o.nodeID, "node-id", "", "id of the node")
		f.StringVar(&o.nodeIP, "node-ip", "", "address of the node")
	}
}

func logsOf(kind, short, key string) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use: kind, Short: short, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			switch {
			case key != "" && o.id != "":
				q.Set(key, o.id)
			case o.pid != 0 && kind != "job" && kind != "task":
				q.Set("pid", strconv.Itoa(o.pid))
			case key == "":
				return usagef("Missing option '--pid'.")
			default:
				return usagef("Missing option '--id'.")
			}
			if kind == "task" {
				q.Set("attempt_number", strconv.Itoa(o.attempt))
			}
			return o.print(cmd, q)
		},
	}
	o.bind(cmd, kind == "worker" || kind == "actor")
	f := cmd.Flags()
	if key != "" {
		f.StringVarP(&o.id, "id", map[bool]string{true: "a"}[kind == "actor"], "", "id of the "+kind)
	}
	if kind == "actor" || kind == "worker" {
		f.IntVar(&o.pid, "pid", 0, "id of the process")
	}
	if kind == "task" {
		f.IntVarP(&o.attempt, "attempt-number", "a", 0, "which attempt")
	}
	if kind != "job" {
		f.BoolVar(&o.stderr, "err", false, "its stderr instead of its stdout")
	}
	return cmd
}

// files prints the file that matches, or lists the files if it is not one.
func (o *logOptions) files(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("Got unexpected extra argument (%s)", strings.Join(args[1:], " "))
	}
	glob := "*"
	if len(args) == 1 {
		glob = args[0]
	}
	api, err := o.api.open(cmd.Context())
	if err != nil {
		return err
	}
	defer api.close()
	ctx, cancel := o.api.within(cmd.Context())
	defer cancel()
	q := o.node()
	q.Set("glob", glob)
	data, err := api.state(ctx, "logs", q)
	if err != nil {
		return err
	}
	var kinds map[string][]string
	if err := json.Unmarshal(data, &kinds); err != nil {
		return fmt.Errorf("the list of log files is not what was expected: %w", err)
	}
	var names []string
	for _, list := range kinds {
		names = append(names, list...)
	}
	switch {
	case len(names) == 0:
		return fmt.Errorf("no log file matches %q", glob)
	case len(names) == 1 && glob != "*":
		q := url.Values{"filename": {names[0]}}
		return o.print(cmd, q)
	}
	return listLogs(cmd.OutOrStdout(), kinds)
}

func listLogs(out io.Writer, kinds map[string][]string) error {
	names := make([]string, 0, len(kinds))
	for kind := range kinds {
		names = append(names, kind)
	}
	slices.Sort(names)
	_, _ = fmt.Fprintln(out, "--- log files: `ray logs FILE` prints one ---")
	for _, kind := range names {
		if len(kinds[kind]) == 0 {
			continue
		}
		_, _ = fmt.Fprintf(out, "%s:\n", kind)
		slices.Sort(kinds[kind])
		for _, name := range kinds[kind] {
			_, _ = fmt.Fprintf(out, "- %s\n", name)
		}
	}
	return nil
}

// node names the node, the head's if none is given.
func (o *logOptions) node() url.Values {
	q := url.Values{}
	if o.nodeID != "" {
		q.Set("node_id", o.nodeID)
	}
	if o.nodeIP != "" {
		q.Set("node_ip", o.nodeIP)
	}
	return q
}

func (o *logOptions) print(cmd *cobra.Command, q url.Values) error {
	decode, err := o.decoder()
	if err != nil {
		return err
	}
	api, err := o.api.open(cmd.Context())
	if err != nil {
		return err
	}
	defer api.close()
	for k, v := range o.node() {
		q[k] = v
	}
	q.Set("lines", strconv.Itoa(o.tail))
	q.Set("suffix", "out")
	if o.stderr {
		q.Set("suffix", "err")
	}
	media := "file"
	if o.follow {
		media = "stream"
	}
	r, err := api.request(cmd.Context(), http.MethodGet, "/api/v0/logs/"+media, q, nil)
	if err != nil {
		return err
	}
	body, err := api.send(r)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	_, err = io.Copy(cmd.OutOrStdout(), decode(body))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // the file's node went away while we followed
	}
	return err
}
