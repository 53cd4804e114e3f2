package main

import (
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"ray/internal/statustext"
)

// memoryOptions are the flags of `ray memory`.
type memoryOptions struct {
	api  apiFlags
	text statustext.MemoryOptions
	json bool
}

func memoryCmd() *cobra.Command {
	var o memoryOptions
	cmd := &cobra.Command{
		Use: "memory", Short: "Show the objects of the cluster and who holds them.", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	o.api.bind(f)
	f.StringVar(&o.text.GroupBy, "group-by", "NODE_ADDRESS", "NODE_ADDRESS or STACK_TRACE")
	f.StringVar(&o.text.SortBy, "sort-by", "OBJECT_SIZE", "PID, OBJECT_SIZE or REFERENCE_TYPE")
	f.StringVar(&o.text.Units, "units", "B", "B, KB, MB or GB")
	f.BoolVar(&o.text.StatsOnly, "stats-only", false, "only the sums of each group")
	f.BoolVar(&o.json, "json", false, "print the rows as JSON")
	f.IntVarP(&o.text.Entries, "num-entries", "n", 0, "at most this many objects of each group (default: all)")
	f.IntVar(&o.text.Entries, "n", 0, "")
	_ = f.MarkHidden("n")
	f.Bool("no-format", false, "accepted and ignored")
	_ = f.MarkHidden("no-format")
	return cmd
}

func (o *memoryOptions) run(cmd *cobra.Command) error {
	if err := o.text.Check(); err != nil {
		return usagef("%s", err)
	}
	api, err := o.api.open(cmd.Context())
	if err != nil {
		return err
	}
	defer api.close()
	ctx, cancel := o.api.within(cmd.Context())
	defer cancel()
	var rows []statustext.Held
	if err := api.rows(ctx, "objects", o.query(), &rows); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), rows)
	}
	var stores []statustext.ObjectStore
	if err := api.rows(ctx, "object_stores", o.query(), &stores); err != nil {
		return err
	}
	o.text.Time = stamp()
	statustext.Memory(cmd.OutOrStdout(), rows, stores, o.text)
	return nil
}

// query asks for all rows of a resource.
func (o *memoryOptions) query() url.Values {
	return url.Values{"limit": {"10000"}, "detail": {"1"}, "timeout": {strconv.Itoa(o.api.timeout)}}
}
