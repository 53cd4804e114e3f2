package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// memoryOptions are the flags of `ray memory`.
type memoryOptions struct {
	api             apiFlags
	groupBy, sortBy string
	units           string
	statsOnly, json bool
	entries         int
}

var units = map[string]float64{"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}

func memoryCmd() *cobra.Command {
	var o memoryOptions
	cmd := &cobra.Command{
		Use: "memory", Short: "Show the objects of the cluster and who holds them.", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	o.api.bind(f)
	f.StringVar(&o.groupBy, "group-by", "NODE_ADDRESS", "NODE_ADDRESS or STACK_TRACE")
	f.StringVar(&o.sortBy, "sort-by", "OBJECT_SIZE", "PID, OBJECT_SIZE or REFERENCE_TYPE")
	f.StringVar(&o.units, "units", "B", "B, KB, MB or GB")
	f.BoolVar(&o.statsOnly, "stats-only", false, "only the sums of each group")
	f.BoolVar(&o.json, "json", false, "print the rows as JSON")
	f.IntVarP(&o.entries, "num-entries", "n", 0, "at most this many objects of each group (default: all)")
	f.IntVar(&o.entries, "n", 0, "")
	_ = f.MarkHidden("n")
	f.Bool("no-format", false, "accepted and ignored")
	_ = f.MarkHidden("no-format")
	return cmd
}

// heldObject is a row of the state API's objects.
type heldObject struct {
	ID        string      `json:"object_id"`
	Size      json.Number `json:"object_size"`
	Status    string      `json:"task_status"`
	Reference string      `json:"reference_type"`
	CallSite  string      `json:"call_site"`
	Type      string      `json:"type"`
	PID       int         `json:"pid"`
	IP        string      `json:"ip"`
}

func (h heldObject) bytes() float64 { v, _ := h.Size.Float64(); return max(v, 0) }

func (o *memoryOptions) run(cmd *cobra.Command) error {
	group, ok := map[string]func(heldObject) string{
		"NODE_ADDRESS": func(h heldObject) string { return h.IP },
		"STACK_TRACE":  func(h heldObject) string { return h.CallSite },
	}[o.groupBy]
	if !ok {
		return usagef("Invalid value for '--group-by': '%s' is not one of 'NODE_ADDRESS', 'STACK_TRACE'.", o.groupBy)
	}
	less, ok := map[string]func(a, b heldObject) int{
		"OBJECT_SIZE":    func(a, b heldObject) int { return cmp.Compare(b.bytes(), a.bytes()) },
		"PID":            func(a, b heldObject) int { return cmp.Compare(a.PID, b.PID) },
		"REFERENCE_TYPE": func(a, b heldObject) int { return strings.Compare(a.Reference, b.Reference) },
	}[o.sortBy]
	if !ok {
		return usagef("Invalid value for '--sort-by': '%s' is not one of 'PID', 'OBJECT_SIZE', 'REFERENCE_TYPE'.", o.sortBy)
	}
	if units[o.units] == 0 {
		return usagef("Invalid value for '--units': '%s' is not one of 'B', 'KB', 'MB', 'GB'.", o.units)
	}
	api, err := o.api.open(cmd.Context())
	if err != nil {
		return err
	}
	defer api.close()
	ctx, cancel := o.api.within(cmd.Context())
	defer cancel()
	data, err := api.state(ctx, "objects", url.Values{"limit": {"10000"}, "detail": {"1"}, "timeout": {strconv.Itoa(o.api.timeout)}})
	if err != nil {
		return err
	}
	var reply struct {
		Rows []heldObject `json:"result"`
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return fmt.Errorf("the list of objects is not what was expected: %w", err)
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), reply.Rows)
	}
	groups := map[string][]heldObject{}
	for _, h := range reply.Rows {
		groups[group(h)] = append(groups[group(h)], h)
	}
	o.print(cmd.OutOrStdout(), groups, less)
	return nil
}

func (o *memoryOptions) print(out io.Writer, groups map[string][]heldObject, less func(a, b heldObject) int) {
	kind := strings.ToLower(strings.ReplaceAll(o.groupBy, "_", " "))
	_, _ = fmt.Fprintf(out, "\n======== Object references status: %s ========\n", stamp())
	_, _ = fmt.Fprintf(out, "Grouping by %s, sorting by %s\n", kind, strings.ToLower(strings.ReplaceAll(o.sortBy, "_", " ")))
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		rows := groups[name]
		total, kinds := 0.0, map[string]int{}
		for _, h := range rows {
			total += h.bytes()
			kinds[h.Reference]++
		}
		_, _ = fmt.Fprintf(out, "\n--- Summary for %s: %s ---\n%s in %d objects:", kind, name, o.size(total), len(rows))
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			_, _ = fmt.Fprintf(out, " %d %s", kinds[k], k)
		}
		_, _ = fmt.Fprintln(out)
		if o.statsOnly {
			continue
		}
		slices.SortStableFunc(rows, less)
		if o.entries > 0 && len(rows) > o.entries {
			rows = rows[:o.entries]
		}
		_, _ = fmt.Fprintf(out, "\n--- Object references for %s: %s ---\n", kind, name)
		cells := make([][]string, len(rows))
		for i, h := range rows {
			cells[i] = []string{h.IP, strconv.Itoa(h.PID), h.Type, h.CallSite, h.Status, o.size(h.bytes()), h.Reference, h.ID}
		}
		table(out, []string{"IP Address", "PID", "Type", "Call Site", "Status", "Size", "Reference Type", "Object Ref"}, cells)
	}
}

func (o *memoryOptions) size(bytes float64) string {
	if o.units == "B" {
		return fmt.Sprintf("%.0f B", bytes)
	}
	return fmt.Sprintf("%.1f %s", bytes/units[o.units], o.units)
}
