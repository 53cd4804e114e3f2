package dashboard

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"ray/internal/spec"
)

// metrics writes the cluster's gauges in the Prometheus text format.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = fmt.Fprint(w, Metrics(s.o.Source.Status(r.Context()))) // the client is gone if this fails
}

// Metrics renders a status as gauges.
func Metrics(st spec.Status) string {
	var b strings.Builder
	gauge(&b, "ray_cluster_nodes", "Nodes by state.", countBy(st.Nodes, func(n spec.Node) string { return label("state", n.State) }))
	total, free := spec.Resources{}, spec.Resources{}
	for _, n := range st.Nodes {
		if n.State != spec.NodeDead {
			total.Add(n.Total)
			free.Add(n.Available)
		}
	}
	rows := map[string]float64{}
	for name, v := range total {
		if !strings.Contains(name, "_group_") && !strings.HasPrefix(name, "node:") {
			rows[label("Name", name)+","+label("State", "AVAILABLE")] = free[name].Float()
			rows[label("Name", name)+","+label("State", "USED")] = (v - free[name]).Float()
		}
	}
	gauge(&b, "ray_resources", "Logical resources.", rows)
	gauge(&b, "ray_actors", "Actors by state, without dead ones.", countBy(st.Actors, func(a spec.ActorInfo) string { return label("State", a.State) }))
	gauge(&b, "ray_tasks", "Tasks that have not ended, by state.", countBy(st.Tasks, func(t spec.TaskInfo) string { return label("State", t.State) }))
	gauge(&b, "ray_jobs", "Jobs by status.", countBy(st.Jobs, func(j spec.Job) string { return label("status", j.Status) }))
	demand := map[string]float64{}
	for _, d := range st.Demands {
		demand[label("kind", d.Kind)] += float64(d.Count)
	}
	gauge(&b, "ray_pending_demand", "Tasks and actors that wait for a place.", demand)
	return b.String()
}

func label(name, value string) string { return fmt.Sprintf("%s=%q", name, value) }

func countBy[T any](rows []T, key func(T) string) map[string]float64 {
	out := map[string]float64{}
	for _, r := range rows {
		out[key(r)]++
	}
	return out
}

func gauge(b *strings.Builder, name, help string, rows map[string]float64) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
	keys := make([]string, 0, len(rows))
	for k := range rows {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(b, "%s{%s} %g\n", name, k, rows[k])
	}
}
