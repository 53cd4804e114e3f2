package dashboard

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
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
	if st.Autoscaling {
		scalerMetrics(&b, st, total)
	}
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

// scalerMetrics are those of the autoscaler, by upstream's names.
func scalerMetrics(b *strings.Builder, st spec.Status, total spec.Resources) {
	session := label("SessionName", filepath.Base(st.SessionDir))
	ofType := func(nodeType string) string { return session + "," + label("NodeType", nodeType) }
	pending, states := spec.Resources{}, map[string]float64{"updating_nodes": 0, "recovering_nodes": 0, "running_workers": 0}
	types := map[string]spec.Resources{}
	for _, t := range st.NodeTypes {
		types[t.Name] = t.Resources
	}
	for _, p := range st.Pending {
		pending.Add(types[p.NodeType])
		if p.State == "RAY_INSTALLING" {
			states["updating_nodes"]++
		}
		if p.Again {
			states["recovering_nodes"]++
		}
	}
	alive := slices.DeleteFunc(slices.Clone(st.Nodes), func(n spec.Node) bool { return n.State == spec.NodeDead })
	for _, n := range alive {
		if !n.Head {
			states["running_workers"]++
		}
	}
	byResource := func(r spec.Resources) map[string]float64 {
		rows := map[string]float64{}
		for name, v := range r {
			if !strings.Contains(name, "_group_") && !strings.HasPrefix(name, "node:") {
				rows[session+","+label("resource", name)] = v.Float()
			}
		}
		return rows
	}
	gauge(b, "autoscaler_active_nodes", "Nodes in the cluster, by type.", countBy(alive, func(n spec.Node) string { return ofType(n.NodeType) }))
	gauge(b, "autoscaler_pending_nodes", "Machines on their way, by type.", countBy(st.Pending, func(p spec.PendingInstance) string { return ofType(p.NodeType) }))
	gauge(b, "autoscaler_recently_failed_nodes", "Recent failures of machines, by type.", countBy(st.Failures, func(f spec.Failure) string { return ofType(f.NodeType) }))
	gauge(b, "autoscaler_cluster_resources", "Resources of the cluster.", byResource(total))
	gauge(b, "autoscaler_pending_resources", "Resources of machines on their way.", byResource(pending))
	for _, name := range slices.Sorted(maps.Keys(states)) {
		gauge(b, "autoscaler_"+name, "Machines in this state.", map[string]float64{session: states[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(st.ScalerCounts)) {
		full := "autoscaler_" + name
		if sum, timed := st.ScalerSums[name]; timed {
			fmt.Fprintf(b, "# HELP %s Time taken, in seconds.\n# TYPE %s summary\n%s_sum{%s} %g\n%s_count{%s} %g\n", full, full, full, session, sum, full, session, st.ScalerCounts[name])
			continue
		}
		fmt.Fprintf(b, "# HELP %s Counted since the head began.\n# TYPE %s counter\n%s{%s} %g\n", full, full, full, session, st.ScalerCounts[name])
	}
}
