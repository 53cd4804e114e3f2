package main

import "github.com/spf13/cobra"

// lifecycleCmds make, use and end clusters.
func lifecycleCmds() []*cobra.Command {
	return []*cobra.Command{
		startCmd(), stopCmd(),
		versionCmd(), completionCmd(), getAuthTokenCmd(),
	}
}

// observabilityCmds only look.
func observabilityCmds() []*cobra.Command {
	return nil
}

// hiddenCmds are run by this program itself or by scripts.
func hiddenCmds() []*cobra.Command {
	return []*cobra.Command{nodeCmd(), headCmd(), localCmd()}
}
