package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// resource is a kind of thing that the state API lists.
type resource struct {
	id      string   // column that names a row
	columns []string // of the table
}

var resources = map[string]resource{
	"actors":           {"actor_id", []string{"actor_id", "class_name", "state", "job_id", "name", "node_id", "pid", "ray_namespace"}},
	"jobs":             {"job_id", []string{"job_id", "submission_id", "entrypoint", "type", "status", "message", "error_type", "driver_info"}},
	"placement-groups": {"placement_group_id", []string{"placement_group_id", "name", "creator_job_id", "state"}},
	"nodes":            {"node_id", []string{"node_id", "node_ip", "is_head_node", "state", "state_message", "node_name", "resources_total", "labels"}},
	"workers":          {"worker_id", []string{"worker_id", "is_alive", "worker_type", "exit_type", "node_id", "ip", "pid"}},
	"tasks":            {"task_id", []string{"task_id", "attempt_number", "name", "state", "job_id", "actor_id", "type", "func_or_class_name", "parent_task_id", "node_id", "worker_id", "worker_pid", "error_type"}},
	"objects":          {"object_id", []string{"object_id", "object_size", "task_status", "attempt_number", "reference_type", "call_site", "type", "pid", "ip"}},
	"runtime-envs":     {"runtime_env", []string{"runtime_env", "success", "creation_time_ms", "node_id"}},
	"cluster-events":   {"event_id", []string{"severity", "time", "source_type", "message", "event_id"}},
}

func resourceNames() []string {
	names := make([]string, 0, len(resources))
	for name := range resources {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// findResource reads the name of a kind, with underscores if somebody likes.
func findResource(text string) (string, resource, error) {
	name := strings.ReplaceAll(text, "_", "-")
	r, ok := resources[name]
	if !ok {
		return "", r, usagef("Invalid value for 'RESOURCE': '%s' is not one of '%s'.", text, strings.Join(resourceNames(), "', '"))
	}
	return name, r, nil
}

// listReply is what the state API answers to a list.
type listReply struct {
	Total     int               `json:"total"`
	Truncated int               `json:"num_after_truncation"`
	Filtered  int               `json:"num_filtered"`
	Rows      []json.RawMessage `json:"result"`
	Partial   string            `json:"partial_failure_warning"`
	Warnings  []string          `json:"warnings"`
}

type listOptions struct {
	api     apiFlags
	format  string
	filters []string
	limit   int
	detail  bool
}

func listCmd() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:       "list RESOURCE",
		Short:     "List actors, jobs, nodes, objects, placement groups, tasks or workers.",
		Args:      exactArgs("resource"),
		ValidArgs: resourceNames(),
		RunE:      func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	o.api.bind(f)
	f.StringVar(&o.format, "format", "default", "default, json, yaml or table")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "only rows with key=value or key!=value; may be repeated")
	f.IntVar(&o.limit, "limit", 100, "at most this many rows")
	f.BoolVar(&o.detail, "detail", false, "all columns, as YAML")
	return cmd
}

func (o *listOptions) run(cmd *cobra.Command, kind string) error {
	name, r, err := findResource(kind)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"default", "json", "yaml", "table"}, o.format) {
		return usagef("Invalid value for '--format': '%s' is not one of 'default', 'json', 'yaml', 'table'.", o.format)
	}
	query, err := o.query()
	if err != nil {
		return err
	}
	api, err := o.api.open(cmd.Context())
	if err != nil {
		return err
	}
	defer api.close()
	ctx, cancel := o.api.within(cmd.Context())
	defer cancel()
	data, err := api.state(ctx, strings.ReplaceAll(name, "-", "_"), query)
	if err != nil {
		return err
	}
	var reply listReply
	if err := json.Unmarshal(data, &reply); err != nil {
		return fmt.Errorf("the list of %s is not what was expected: %w", name, err)
	}
	for _, warning := range append(reply.Warnings, reply.Partial) {
		if warning != "" {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "Warning:", warning)
		}
	}
	return o.print(cmd.OutOrStdout(), r, reply)
}

func (o *listOptions) query() (url.Values, error) {
	q := url.Values{"limit": {strconv.Itoa(o.limit)}, "timeout": {strconv.Itoa(o.api.timeout)}, "detail": {"0"}}
	if o.detail {
		q.Set("detail", "1")
	}
	for _, f := range o.filters {
		predicate := "="
		key, value, ok := strings.Cut(f, "!=")
		if ok {
			predicate = "!="
		} else if key, value, ok = strings.Cut(f, "="); !ok {
			return nil, usagef("Invalid value for '--filter': '%s' is neither key=value nor key!=value.", f)
		}
		q.Add("filter_keys", strings.TrimSpace(key))
		q.Add("filter_predicates", predicate)
		q.Add("filter_values", strings.TrimSpace(value))
	}
	return q, nil
}

func (o *listOptions) print(out io.Writer, r resource, reply listReply) error {
	format := o.format
	if format == "default" {
		format = "table"
		if o.detail {
			format = "yaml"
		}
	}
	if format == "json" {
		if reply.Rows == nil {
			reply.Rows = []json.RawMessage{}
		}
		return json.NewEncoder(out).Encode(reply.Rows)
	}
	rows, err := decodeRows(reply.Rows)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(out, "No resource in the cluster")
		return err
	}
	if format == "yaml" {
		return printYAML(out, rows, r.columns)
	}
	_, _ = fmt.Fprintf(out, "\n======== List: %s ========\nStats:\n%s\nTotal: %d\n", stamp(), dashes(30), reply.Total)
	if len(rows) < reply.Total {
		_, _ = fmt.Fprintf(out, "Shown: %d (--limit or --filter leave out the others)\n", len(rows))
	}
	_, _ = fmt.Fprintf(out, "\nTable:\n%s\n", dashes(30))
	columns := r.columns
	if o.detail {
		columns = ordered(rows[0], r.columns)
	}
	printTable(out, columns, rows)
	return nil
}

func printTable(out io.Writer, columns []string, rows []map[string]any) {
	headers := make([]string, len(columns))
	for i, c := range columns {
		headers[i] = strings.ToUpper(c)
	}
	cells := make([][]string, len(rows))
	for n, row := range rows {
		for _, c := range columns {
			cells[n] = append(cells[n], cell(row[c]))
		}
	}
	table(out, headers, cells)
}

func printYAML(out io.Writer, rows []map[string]any, columns []string) error {
	list := make([]any, len(rows))
	for i, row := range rows {
		list[i] = row
	}
	b := bytes.NewBufferString("---\n")
	writeYAML(b, list, "", columns)
	b.WriteString("...\n\n")
	_, err := out.Write(b.Bytes())
	return err
}

// decodeRows keeps numbers as they were written.
func decodeRows(raw []json.RawMessage) ([]map[string]any, error) {
	rows := make([]map[string]any, len(raw))
	for i, text := range raw {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&rows[i]); err != nil {
			return nil, fmt.Errorf("row %d of the answer: %w", i, err)
		}
	}
	return rows, nil
}

func stamp() string            { return time.Now().Format("2006-01-02 15:04:05.000000") }
func dashes(n int) string      { return strings.Repeat("-", n) }
func boxed(text string) string { return dashes(len(text)) + "\n" + text + "\n" + dashes(len(text)) }

func getCmd() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:       "get RESOURCE ID",
		Short:     "Show everything about one actor, job, node, object, placement group, task or worker.",
		Args:      exactArgs("resource", "id"),
		ValidArgs: resourceNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, r, err := findResource(args[0])
			if err != nil {
				return err
			}
			id := r.id
			if args[0] == "jobs" && strings.HasPrefix(args[1], "raysubmit_") {
				id = "submission_id"
			}
			o.filters, o.format, o.detail, o.limit = []string{id + "=" + args[1]}, "yaml", true, 100
			return o.run(cmd, args[0])
		},
	}
	o.api.bind(cmd.Flags())
	return cmd
}
