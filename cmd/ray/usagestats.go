package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/session"
)

// usageStatsCmds are `ray enable-usage-stats` and `ray disable-usage-stats`.
// This program reports nothing to anybody; the choice is kept in the file that
// upstream reads, for those who use both.
func usageStatsCmds() []*cobra.Command {
	verb := func(name, short string, value bool) *cobra.Command {
		return &cobra.Command{Use: name, Short: short, Args: exactArgs(), RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := setUsageStats(value)
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "This program never reports usage. The choice is kept for upstream's in %s.\n", file)
			}
			return err
		}}
	}
	return []*cobra.Command{
		verb("disable-usage-stats", "Keep upstream from reporting usage (this program never does).", false),
		verb("enable-usage-stats", "Let upstream report usage (this program never does).", true),
	}
}

func setUsageStats(value bool) (file string, err error) {
	if file = os.Getenv("RAY_USAGE_STATS_CONFIG_PATH"); file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		file = filepath.Join(home, ".ray", "config.json")
	}
	config := map[string]any{}
	switch text, err := os.ReadFile(file); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	default:
		if err := json.Unmarshal(text, &config); err != nil {
			return "", fmt.Errorf("%s is not a JSON object; mend or remove it: %w", file, err)
		}
	}
	config["usage_stats"] = value
	text := []byte(cluster.PythonJSON(config)) // as upstream writes it
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	return file, session.WriteFile(file, text)
}
