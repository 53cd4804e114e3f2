package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ray/internal/launcher"
)

// clustersCmd is `ray clusters`.
func clustersCmd() *cobra.Command {
	var f launchFlags
	var asJSON, everywhere bool
	cmd := &cobra.Command{
		Use:   "clusters",
		Short: "List the clusters that were started from here, or, with --all, what the clouds have.",
		Long: "List the clusters that were started from here, and what they cost by the hour. With --all the clouds are asked,\n" +
			"in every region, for machines with a cluster's tag, whoever started them: those of the clusters that are known\n" +
			"here, AWS if there are credentials, and Google Cloud if GOOGLE_CLOUD_PROJECT is set.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := f.launcher(cmd)
			if err != nil {
				return err
			}
			if everywhere {
				return showSightings(cmd, l, asJSON)
			}
			list, err := l.Clusters(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return printJSON(out, list)
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
			var dates []string
			for _, s := range list {
				if s.PriceDate != "" && !slices.Contains(dates, s.PriceDate) {
					dates = append(dates, s.PriceDate)
				}
			}
			if len(dates) > 0 {
				_, _ = fmt.Fprintf(out, "Prices of %s, without disks and traffic; `ray prices --refresh` asks the provider.\n", strings.Join(dates, ", "))
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
	cmd.Flags().BoolVar(&everywhere, "all", false, "ask the clouds, in every region, for everything with a cluster's tag")
	return cmd
}

// showSightings prints what the clouds have. What is known goes first, since
// part of the clouds may not answer.
func showSightings(cmd *cobra.Command, l *launcher.Launcher, asJSON bool) error {
	list, err := l.Search(cmd.Context())
	out := cmd.OutOrStdout()
	if asJSON {
		if list == nil {
			list = []launcher.Sighting{}
		}
		return errors.Join(printJSON(out, list), err)
	}
	if len(list) == 0 && err == nil {
		_, err := fmt.Fprintln(out, "The clouds have no machines with a cluster's tag.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tPROVIDER\tREGION\tHEAD\tWORKERS\t$/HOUR\tKNOWN HERE")
	for _, s := range list {
		head, known := "up", "no"
		if s.Orphan {
			head = "none"
		}
		if s.Known {
			known = "yes"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%.3f\t%s\n", s.Name, s.Provider, s.Region, head, s.Workers, s.Cost, known)
	}
	_ = w.Flush()
	for _, s := range list {
		if s.Orphan {
			_, _ = fmt.Fprintf(out, "%s in %s has machines and no head: nobody uses or ends them (%s). To end them:\n  %s\n",
				s.Name, s.Region, strings.Join(s.Instances, ", "), s.Remove())
		}
	}
	return err
}

func dashIfEmpty(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
