package head

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ray/internal/dashboard"
	"ray/internal/gcs"
	"ray/internal/jobs"
	"ray/internal/spec"
)

// maxRows is the most rows of one kind that a node is asked for.
const maxRows = 10_000

// Rows lists one resource of the state API, with all columns. missing counts
// nodes that did not answer.
func (h *Head) Rows(ctx context.Context, resource string) (rows []map[string]any, missing int, err error) {
	switch resource {
	case "tasks":
		q := h.Query(ctx, resource, maxRows)
		listed := slices.DeleteFunc(q.Rows, func(row map[string]any) bool { return row["unlisted"] == true })
		return listed, q.Missing, nil
	case "objects", "object_stores", "workers", "runtime_envs":
		q := h.Query(ctx, resource, maxRows)
		return q.Rows, q.Missing, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch resource {
	case "actors":
		for _, a := range h.tables.Actors() {
			rows = append(rows, actorRow(a))
		}
	case "jobs":
		for _, j := range h.tables.Jobs() {
			rows = append(rows, jobs.Details(j))
		}
	case dashboard.Drivers:
		for _, j := range h.tables.Jobs() {
			if !j.JobID.IsZero() {
				rows = append(rows, driverRow(j))
			}
		}
	case "nodes":
		for _, n := range h.tables.Nodes() {
			rows = append(rows, nodeRow(n))
		}
	case "placement_groups":
		for _, g := range h.tables.Groups() {
			rows = append(rows, groupRow(g.Info))
		}
	case "cluster_events":
		for i, e := range h.events {
			rows = append(rows, map[string]any{
				"severity": e.Severity, "time": time.UnixMilli(e.TimeMS).UTC().Format("2006-01-02 15:04:05.000"),
				"source_type": e.Source, "message": e.Message, "event_id": fmt.Sprintf("%013d-%04d", e.TimeMS, i), "custom_fields": map[string]any{},
			})
		}
	default:
		return nil, 0, fmt.Errorf("unknown resource %q", resource)
	}
	return rows, 0, nil
}

func actorRow(a gcs.Actor) map[string]any {
	i, o := a.Info, a.Info.Options
	row := map[string]any{
		"actor_id": i.ID.String(), "class_name": o.ClassName, "state": i.State, "job_id": i.JobID.String(), "name": o.Name,
		"node_id": orNil(i.NodeID.String(), i.NodeID.IsZero()), "pid": i.PID, "ray_namespace": o.Namespace,
		"serialized_runtime_env": "", "required_resources": i.Resources.Floats(), "death_cause": nil, "is_detached": o.Detached,
		"placement_group_id": orNil(i.PlacementGroup.String(), i.PlacementGroup.IsZero()), "repr_name": i.ReprName,
		"num_restarts": i.Restarts, "num_restarts_due_to_lineage_reconstruction": 0, "num_restarts_due_to_node_preemption": i.PreemptedTimes,
		"call_site": nil, "label_selector": a.Create.LabelSelector, "fallback_strategy": a.Create.Fallback,
		"state_message": i.Reason, "start_time_ms": a.StartMS, "end_time_ms": a.EndMS,
	}
	if i.Death != nil {
		row["death_cause"] = map[string]any{"type": i.Death.Type, "error_message": i.Death.Message}
	}
	return row
}

// driverRow is a driver as the root of its job's tasks: they name it as their parent.
func driverRow(j spec.Job) map[string]any {
	state := "RUNNING"
	switch {
	case j.EndMS > 0 && j.Status == "FAILED":
		state = "FAILED"
	case j.EndMS > 0:
		state = "FINISHED"
	}
	row := map[string]any{
		"task_id": spec.DriverTaskID(j.JobID), "attempt_number": 0, "name": "", "func_or_class_name": "", "state": state,
		"job_id": j.JobID, "type": "DRIVER_TASK", "parent_task_id": nil, "node_id": orNil(j.NodeID.String(), j.NodeID.IsZero()),
		"worker_id": nil, "worker_pid": j.DriverPID, "actor_id": nil, "error_type": nil, "error_message": nil,
		"required_resources": map[string]float64{}, "language": "PYTHON", "creation_time_ms": j.StartMS, "start_time_ms": j.StartMS,
	}
	if j.EndMS > 0 {
		row["end_time_ms"] = j.EndMS
	}
	return row
}

func orNil(v string, zero bool) any {
	if zero {
		return nil
	}
	return v
}

func nodeRow(n spec.Node) map[string]any {
	message := n.DeathReason
	if n.State == spec.NodeDraining {
		message = "it takes no new work"
	}
	state := n.State
	if state == spec.NodeDraining {
		state = spec.NodeAlive
	}
	return map[string]any{
		"node_id": n.ID.String(), "node_ip": n.IP, "is_head_node": n.Head, "state": state, "state_message": message,
		"node_name": n.Name, "resources_total": n.Total.Floats(), "labels": n.Labels, "start_time_ms": n.StartMS, "end_time_ms": n.EndMS,
		"node_type": n.NodeType, "resources_available": n.Available.Floats(), "hostname": n.Hostname,
	}
}

func groupRow(g spec.PlacementGroup) map[string]any {
	bundles := []map[string]any{}
	for i, b := range g.Bundles {
		var node any
		if i < len(g.Nodes) && !g.Nodes[i].IsZero() {
			node = g.Nodes[i].String()
		}
		bundles = append(bundles, map[string]any{"bundle_id": fmt.Sprintf("%s:%d", g.ID, i), "node_id": node, "unit_resources": b.Floats()})
	}
	return map[string]any{
		"placement_group_id": g.ID.String(), "name": g.Name, "creator_job_id": g.JobID.String(), "state": g.State, "bundles": bundles,
		"is_detached": g.Detached, "topology_strategy": nil, "topology_assignments": nil, "strategy": g.Strategy, "state_message": g.Reason,
		"stats": map[string]any{
			"end_to_end_creation_latency_ms": g.Millis, "scheduling_attempt": g.Attempts, "scheduling_state": schedulingState(g),
			"highest_retry_delay_ms": 0, "scheduling_latency_ms": g.Millis,
		},
	}
}

func schedulingState(g spec.PlacementGroup) string {
	switch g.State {
	case spec.PGCreated:
		return "FINISHED"
	case spec.PGRemoved:
		return "REMOVED"
	}
	if g.Infeasible {
		return "INFEASIBLE"
	}
	if g.Reason != "" {
		return "NO_RESOURCES"
	}
	return "QUEUED"
}

func (h *Head) stateList(r *request) (any, gcs.Change, error) {
	var req struct {
		Resource string      `json:"resource"`
		Filters  [][3]string `json:"filters"`
		Limit    int         `json:"limit"`
		Detail   bool        `json:"detail"`
	}
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	h.background(r, func(ctx context.Context) (any, []byte, error) {
		rows, missing, err := h.Rows(ctx, req.Resource)
		if err != nil {
			return nil, nil, &spec.ErrorInfo{Type: "ValueError", Message: err.Error()}
		}
		filters := make([]dashboard.Filter, len(req.Filters))
		for i, f := range req.Filters {
			filters[i] = dashboard.Filter{Key: f[0], Predicate: f[1], Value: f[2]}
		}
		s, err := dashboard.Select(req.Resource, rows, filters, req.Limit, req.Detail)
		if err != nil {
			return nil, nil, &spec.ErrorInfo{Type: "ValueError", Message: err.Error()}
		}
		return map[string]any{"total": s.Total, "num_filtered": s.Filtered, "rows": s.Rows, "missing_nodes": missing}, nil, nil
	})
	return nil, gcs.Change{}, nil
}
