package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/session"
)

func timelineCmd() *cobra.Command {
	var f apiFlags
	cmd := &cobra.Command{
		Use: "timeline", Short: "Write a trace of the cluster's tasks, for chrome://tracing or Perfetto.", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer api.close()
			ctx, cancel := f.within(cmd.Context())
			defer cancel()
			r, err := api.request(ctx, http.MethodGet, "/api/v0/tasks/timeline", url.Values{"download": {"1"}}, nil)
			if err != nil {
				return err
			}
			body, err := api.send(r)
			if err != nil {
				return err
			}
			defer func() { _ = body.Close() }()
			text, err := io.ReadAll(body)
			if err != nil {
				return fmt.Errorf("read the trace: %w", err)
			}
			dir := session.TempDir()
			if dir == session.Root() {
				if err := session.EnsureRoot(); err != nil {
					return err
				}
			}
			path := filepath.Join(dir, "ray-timeline-"+time.Now().Format("2006-01-02_15-04-05")+".json")
			if err := session.WriteFile(path, text); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Trace file written to %s.\n", path)
			return err
		},
	}
	f.bind(cmd.Flags())
	return cmd
}
