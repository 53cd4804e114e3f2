// Command scheduler prints what internal/simtest/placing measures: the quality
// of placements beside other policies, and speed and memory at scale.
package main

import (
	"flag"
	"fmt"
	"os"

	"ray/internal/simtest/placing"
)

func main() {
	graphs := flag.Int("graphs", 5, "random graphs for each line of the comparison; 0 = leave it out")
	scale := flag.Bool("scale", true, "measure large clusters")
	flag.Parse()
	if err := run(*graphs, *scale); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(graphs int, scale bool) error {
	if graphs > 0 {
		if err := placing.PrintQuality(os.Stdout, graphs); err != nil {
			return err
		}
		fmt.Println()
	}
	if !scale {
		return nil
	}
	return placing.PrintScale(os.Stdout, []placing.Scale{{Nodes: 100, Tasks: 10_000}, {Nodes: 1000, Tasks: 100_000}, {Nodes: 10_000, Tasks: 1_000_000}})
}
