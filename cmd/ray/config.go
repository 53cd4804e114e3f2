package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/launcher"
	"ray/providers/all"
)

// configCmd is `ray config`: what a cluster file says, without starting anything.
func configCmd() *cobra.Command {
	validate := &cobra.Command{
		Use: "validate CLUSTER_CONFIG_FILE", Short: "Check a cluster file and list every problem.", Args: exactArgs("cluster-config-file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(cmd, args[0])
			if err == nil {
				err = all.Check(cfg)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: cluster %s, provider %s, %d node types.\n",
				args[0], cfg.Name, cfg.Provider.Type, len(cfg.NodeTypes))
			return err
		},
	}
	var asJSON bool
	show := &cobra.Command{
		Use: "show CLUSTER_CONFIG_FILE", Short: "Print a cluster file with every default filled in, secrets left out.", Args: exactArgs("cluster-config-file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(cmd, args[0])
			if err != nil {
				return err
			}
			text := cfg.ShowJSON() + "\n"
			if !asJSON {
				if text, err = cfg.Show(); err != nil {
					return err
				}
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of cluster files, for editors.", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printJSON(cmd.OutOrStdout(), cluster.Schema())
		},
	}
	return group("config", "Check and show cluster files.", validate, show, schema, configHashCmd())
}

// loadConfig reads a file as `ray up` would: a path, a URL, or - for standard input.
func loadConfig(cmd *cobra.Command, file string) (*cluster.Config, error) {
	l := launcher.Launcher{In: cmd.InOrStdin()}
	return l.Read(cmd.Context(), launcher.Source{File: file})
}

func configHashCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "hash CLUSTER_CONFIG_FILE", Short: "Print the hashes by which changes of a cluster file are noticed.", Args: exactArgs("cluster-config-file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(cmd, args[0])
			if err != nil {
				return err
			}
			contents, _, err := cfg.ContentsHashes()
			if err != nil {
				return err
			}
			out := struct {
				Launch  map[string]string `json:"launch"`
				Runtime string            `json:"runtime"`
			}{map[string]string{}, cfg.RuntimeHash(true, cfg.HeadType, contents)}
			for _, name := range cfg.TypeNames() {
				if out.Launch[name], err = cfg.LaunchHash(name); err != nil {
					return err
				}
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(out)
			}
			for _, name := range cfg.TypeNames() {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "launch %s %s\n", name, out.Launch[name])
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "runtime %s\n", out.Runtime)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
