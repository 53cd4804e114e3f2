package main

import "github.com/spf13/cobra"

func completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print a completion script for bash, zsh, fish or powershell.",
		Long:      "Print a completion script. For bash, add to ~/.bashrc:\n\n  source <(ray completion bash)",
		Args:      exactArgs("shell"),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usagef("Invalid value for 'SHELL': '%s' is not one of 'bash', 'zsh', 'fish', 'powershell'.", args[0])
		},
	}
}
