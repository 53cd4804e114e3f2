package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// clustersCmd is `ray clusters`.
func clustersCmd() *cobra.Command {
	var f launchFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "clusters",
		Short: "List the clusters that were started from here.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := f.launcher(cmd)
			if err != nil {
				return err
			}
			list, err := l.Clusters(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(list)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(out, "No clusters. Start one with `ray up FILE`.")
				return err
			}
			w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "  NAME\tPROVIDER\tHEAD\tWORKERS\tADDRESS\t$/HOUR\tFILE")
			for _, s := range list {
				mark := " "
				if s.Current {
					mark = "*"
				}
				_, _ = fmt.Fprintf(w, "%s %s\t%s\t%s\t%d\t%s\t%.3f\t%s\n", mark, s.Name, s.Provider, s.Head, s.Workers, dashIfEmpty(s.Address), s.Cost, s.File)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			for _, s := range list {
				if s.Problem != "" {
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", s.Name, s.Problem)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func dashIfEmpty(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
