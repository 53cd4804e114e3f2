package main

import "github.com/spf13/cobra"

// lifecycleCmds make, use and end clusters.
func lifecycleCmds() []*cobra.Command {
	return []*cobra.Command{
		upCmd(), downCmd(), attachCmd(), execCmd(), submitCmd(), getHeadIPCmd(), getWorkerIPsCmd(),
		rsyncUpCmd(), rsyncDownCmd(), monitorCmd(), dashboardCmd(), sshConfigCmd(), clustersCmd(), pricesCmd(), useCmd(), configCmd(), clusterDumpCmd(),
		startCmd(), stopCmd(), statusCmd(), whyCmd(),
		jobCmd(),
		versionCmd(), completionCmd(), getAuthTokenCmd(), symmetricRunCmd(), microbenchmarkCmd(), checkOpenPortsCmd(),
	}
}

// observabilityCmds only look.
func observabilityCmds() []*cobra.Command {
	return []*cobra.Command{listCmd(), getCmd(), summaryCmd(), logsCmd(), memoryCmd(), timelineCmd(), stackCmd(), metricsCmd()}
}

// hiddenCmds are run by this program itself or by scripts.
func hiddenCmds() []*cobra.Command {
	return append(usageStatsCmds(),
		nodeCmd(), headCmd(), localCmd(), engineCmd(), dialCmd(), deltaCmd(), autoscalerCmd(), drainNodeCmd(), killActorCmd(), globalGCCmd(), healthCheckCmd(), callCmd(), killRandomNodeCmd(), localDumpCmd(), sanityCheckCmd())
}
