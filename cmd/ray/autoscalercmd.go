package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"ray/autoscaler"
	"ray/internal/head"
	"ray/internal/spec"
)

func autoscalerCmd() *cobra.Command {
	var address, file string
	cmd := &cobra.Command{
		Use: "autoscaler", Short: "Scale a cluster from outside its head, or try the planner.", Hidden: true, Args: exactArgs(),
		Long: "Scale the cluster of a head that runs elsewhere, by a cluster file, until this process is ended. The head must\n" +
			"leave it to others: ray start --head --no-monitor. Of several such processes one scales and the others wait.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("Missing option '--config'.")
			}
			return runAutoscaler(cmd.Context(), cmd.ErrOrStderr(), address, file)
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "host:port of the head, as its workers reach it (default: RAY_ADDRESS, or the head on this machine)")
	cmd.Flags().StringVar(&file, "config", "", "cluster file to scale by")
	cmd.AddCommand(autoscalerPlanCmd())
	return cmd
}

func runAutoscaler(ctx context.Context, out io.Writer, address, file string) error {
	address, auth, err := headAccess(address)
	if err != nil {
		return err
	}
	return head.RunAlone(ctx, head.Alone{
		Address: address, Auth: auth, ConfigPath: file,
		Log: slog.New(slog.NewTextHandler(out, nil)),
	})
}

func autoscalerPlanCmd() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "plan REQUEST.json",
		Short: "Plan one round for a request in a file (- is standard input) and say how long planning took.",
		Long: "Plan one round of scaling, without any cluster. The request is an object with\n" +
			"node_types {NAME: {resources, labels, min_workers, max_workers, price}}, max_workers,\n" +
			"max_cost_per_hour (optional) and\n" +
			"demands [[RESOURCES, COUNT], ...]. The time is the best of three rounds, of planning alone.",
		Args: exactArgs("request.json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAutoscalerPlan(cmd.InOrStdin(), cmd.OutOrStdout(), args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the reply as JSON")
	return cmd
}

// planFile is the request's format.
type planFile struct {
	NodeTypes  map[string]autoscaler.NodeType `json:"node_types"`
	MaxWorkers int                            `json:"max_workers"`
	MaxCost    *float64                       `json:"max_cost_per_hour"`
	Demands    []planDemand                   `json:"demands"`
	Groups     []spec.PlacementGroup          `json:"placement_groups"`
	Nodes      []spec.Node                    `json:"nodes"`
}

// planDemand is [resources, count].
type planDemand spec.Demand

func (d *planDemand) UnmarshalJSON(text []byte) error {
	var resources spec.Resources
	var count int
	if err := json.Unmarshal(text, &[]any{&resources, &count}); err != nil {
		return fmt.Errorf("a demand is [{resource: amount, ...}, count]: %w", err)
	}
	*d = planDemand{Resources: resources, Count: count, Kind: "task"}
	return nil
}

// planAnswer is the reply in the form that benchmarks compare.
type planAnswer struct {
	Seconds    float64                 `json:"seconds"`
	ToLaunch   map[string]int          `json:"to_launch"`
	Infeasible int                     `json:"infeasible"`
	Waiting    int                     `json:"waiting"`
	Details    []autoscaler.Infeasible `json:"infeasible_details,omitempty"`
	Price      float64                 `json:"price_per_hour,omitempty"`
}

func runAutoscalerPlan(in io.Reader, out io.Writer, path string, asJSON bool) error {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	var request planFile
	if err := json.NewDecoder(in).Decode(&request); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	answer := measurePlan(request.request())
	for name, count := range answer.ToLaunch {
		answer.Price += float64(count) * request.NodeTypes[name].Price
	}
	if asJSON {
		return json.NewEncoder(out).Encode(answer)
	}
	_, _ = fmt.Fprintf(out, "seconds: %.6f (best of three)\n", answer.Seconds)
	for _, name := range slices.Sorted(maps.Keys(answer.ToLaunch)) {
		_, _ = fmt.Fprintf(out, "launch %d of %s\n", answer.ToLaunch[name], name)
	}
	if answer.Price > 0 {
		_, _ = fmt.Fprintf(out, "price: %.4f per hour\n", answer.Price)
	}
	for _, i := range answer.Details {
		_, _ = fmt.Fprintf(out, "infeasible: %d of %s: %s\n", i.Demand.Count, i.Demand.Resources, i.Reason)
	}
	_, _ = fmt.Fprintf(out, "infeasible: %d, waiting: %d\n", answer.Infeasible, answer.Waiting)
	return nil
}

func (f planFile) request() autoscaler.Request {
	req := autoscaler.Request{
		Config: autoscaler.Config{
			NodeTypes: f.NodeTypes, MaxWorkers: f.MaxWorkers, MaxCost: f.MaxCost, UpscalingSpeed: autoscaler.Unlimited, IdleTimeout: -1,
		},
		Groups: f.Groups, Nodes: f.Nodes,
	}
	for _, d := range f.Demands {
		req.Demands = append(req.Demands, spec.Demand(d))
	}
	return req
}

func measurePlan(req autoscaler.Request) planAnswer {
	answer := planAnswer{ToLaunch: map[string]int{}}
	var reply autoscaler.Reply
	for i := range 3 {
		start := time.Now()
		reply = autoscaler.Plan(req)
		if took := time.Since(start).Seconds(); i == 0 || took < answer.Seconds {
			answer.Seconds = took
		}
	}
	for _, l := range reply.Launches {
		answer.ToLaunch[l.NodeType] += l.Count
	}
	for _, i := range reply.Infeasible {
		answer.Infeasible += max(1, i.Demand.Count)
	}
	for _, w := range reply.Waiting {
		answer.Waiting += w.Demand.Count
	}
	answer.Details = reply.Infeasible
	return answer
}
