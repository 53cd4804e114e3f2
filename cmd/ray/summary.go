package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func summaryCmd() *cobra.Command {
	return group("summary", "Sum up actors, objects or tasks.",
		summaryOf("actors", "Actors"), summaryOf("objects", "Objects"), summaryOf("tasks", "Tasks"))
}

func summaryOf(kind, title string) *cobra.Command {
	var flags apiFlags
	cmd := &cobra.Command{
		Use: kind, Short: "Sum up " + kind + ".", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer api.close()
			ctx, cancel := flags.within(cmd.Context())
			defer cancel()
			data, err := api.state(ctx, kind+"/summarize", url.Values{"timeout": {strconv.Itoa(flags.timeout)}})
			if err != nil {
				return err
			}
			return printSummary(cmd.OutOrStdout(), title, data)
		},
	}
	flags.bind(cmd.Flags())
	return cmd
}

func printSummary(out io.Writer, title string, data json.RawMessage) error {
	var reply struct {
		Result struct {
			Nodes map[string]map[string]any `json:"node_id_to_summary"`
		} `json:"result"`
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return fmt.Errorf("the summary is not what was expected: %w", err)
	}
	sum := reply.Result.Nodes["cluster"]
	groups, _ := sum["summary"].(map[string]any)
	by, _ := sum["summary_by"].(string)
	_, _ = fmt.Fprintf(out, "\n======== %s Summary: %s ========\nStats:\n%s\n", title, stamp(), dashes(36))
	for _, k := range sortedKeys(sum) {
		if k != "summary" && k != "summary_by" {
			_, _ = fmt.Fprintf(out, "%s: %s\n", k, cell(sum[k]))
		}
	}
	_, _ = fmt.Fprintf(out, "\n\nTable (group by %s):\n%s\n", by, dashes(36))
	rows, columns := summaryRows(groups)
	if len(rows) > 0 {
		printTable(out, columns, rows)
	}
	return nil
}

// summaryRows gives a row for each group, with the union of their columns.
func summaryRows(groups map[string]any) ([]map[string]any, []string) {
	var rows []map[string]any
	seen := map[string]bool{}
	for _, name := range sortedKeys(groups) {
		row, ok := groups[name].(map[string]any)
		if !ok {
			continue
		}
		for k := range row {
			seen[k] = true
		}
		for k, v := range row {
			// Counts arrive as floats: show whole ones without a point.
			if n, ok := v.(map[string]any); ok {
				row[k] = countList(n)
			}
		}
		rows = append(rows, row)
	}
	columns := make([]string, 0, len(seen))
	for k := range seen {
		columns = append(columns, k)
	}
	slices.SortFunc(columns, func(a, b string) int {
		// The name comes first.
		if an, bn := strings.HasSuffix(a, "class_name"), strings.HasSuffix(b, "class_name"); an != bn {
			if an {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return rows, columns
}

func countList(counts map[string]any) string {
	parts := make([]string, 0, len(counts))
	for _, k := range sortedKeys(counts) {
		parts = append(parts, fmt.Sprintf("%s: %v", k, counts[k]))
	}
	return strings.Join(parts, ", ")
}
