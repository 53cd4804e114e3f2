package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/providers/prices"
)

// pricesCmd is `ray prices`.
func pricesCmd() *cobra.Command {
	var f launchFlags
	var refresh, asJSON bool
	cmd := &cobra.Command{
		Use:   "prices [CLUSTER_CONFIG_FILE]",
		Short: "Show what one node of each type costs by the hour; with --refresh ask the provider first.",
		Long: "Show what one node of each type of the file costs by the hour, in US dollars, without disks, traffic and taxes, and\n" +
			"of when the price is. Prices come from a table in the program until the provider is asked with --refresh; what it\n" +
			"answers is kept, and counts in plans, in `ray clusters` and for the autoscaler of heads that are set up from then on.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, c, rest, err := f.open(cmd, args, cluster.Override{})
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return usagef("Got unexpected extra argument (%s)", rest[0])
			}
			if refresh {
				unknown, err := c.RefreshPrices(cmd.Context())
				if err != nil {
					return err
				}
				if len(unknown) > 0 {
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "The provider has no price for %s.\n", strings.Join(unknown, ", "))
				}
			}
			types := c.Prices(nil)
			out := cmd.OutOrStdout()
			if asJSON {
				return printJSON(out, types)
			}
			w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "NODE TYPE\tMACHINE\tMARKET\t$/HOUR\tPRICE OF")
			for _, name := range slices.Sorted(maps.Keys(types)) {
				e := types[name]
				market, usd, date := "on-demand", "unknown", cmp.Or(e.Date, prices.Builtin().Date)
				if e.Spot {
					market = "spot"
				}
				if e.Known {
					usd = fmt.Sprintf("%.4f", e.USD)
				}
				if e.Free {
					market, date = "-", "-"
				}
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, dashIfEmpty(e.Machine), market, usd, date)
			}
			return w.Flush()
		},
	}
	f.bind(cmd)
	cmd.Flags().BoolVar(&refresh, "refresh", false, "ask the provider, and keep its answer")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
