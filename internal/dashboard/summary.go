package dashboard

import (
	"fmt"
	"net/http"
	"strconv"
)

// Summarize counts rows of tasks, actors or objects by what they are.
func Summarize(resource string, rows []map[string]any) map[string]any {
	switch resource {
	case "tasks":
		return summarizeTasks(rows)
	case "actors":
		return summarizeActors(rows)
	default:
		return summarizeObjects(rows)
	}
}

func summarizeTasks(rows []map[string]any) map[string]any {
	groups := map[string]map[string]any{}
	totals := map[string]int{}
	for _, row := range rows {
		name, kind := show(row["func_or_class_name"]), show(row["type"])
		if name == "" {
			name = show(row["name"])
		}
		totals[kind]++
		g := groups[name]
		if g == nil {
			g = map[string]any{"func_or_class_name": name, "type": kind, "state_counts": map[string]int{}}
			groups[name] = g
		}
		g["state_counts"].(map[string]int)[show(row["state"])]++
	}
	return map[string]any{
		"summary": groups, "total_tasks": totals["NORMAL_TASK"], "total_actor_tasks": totals["ACTOR_TASK"],
		"total_actor_scheduled": totals["ACTOR_CREATION_TASK"], "summary_by": "func_name",
	}
}

func summarizeActors(rows []map[string]any) map[string]any {
	groups := map[string]map[string]any{}
	for _, row := range rows {
		name := show(row["class_name"])
		g := groups[name]
		if g == nil {
			g = map[string]any{"class_name": name, "state_counts": map[string]int{}}
			groups[name] = g
		}
		g["state_counts"].(map[string]int)[show(row["state"])]++
	}
	return map[string]any{"summary": groups, "total_actors": len(rows), "summary_by": "class"}
}

func summarizeObjects(rows []map[string]any) map[string]any {
	groups := map[string]map[string]any{}
	seen := map[string][2]map[string]bool{} // processes and nodes of each
	total, workers, enabled := 0.0, map[string]bool{}, false
	for _, row := range rows {
		site := show(row["call_site"])
		if site == "" {
			site = "disabled"
		}
		enabled = enabled || site != "disabled"
		g := groups[site]
		if g == nil {
			g = map[string]any{
				"total_objects": 0, "total_size_mb": 0.0, "total_num_workers": 0, "total_num_nodes": 0,
				"task_state_counts": map[string]int{}, "task_attempt_number_counts": map[string]int{}, "ref_type_counts": map[string]int{},
			}
			groups[site] = g
			seen[site] = [2]map[string]bool{{}, {}}
		}
		size, _ := strconv.ParseFloat(show(row["object_size"]), 64)
		total += max(0, size)
		worker := show(row["pid"]) + "@" + show(row["ip"])
		workers[worker], seen[site][0][worker], seen[site][1][show(row["ip"])] = true, true, true
		g["total_num_workers"], g["total_num_nodes"] = len(seen[site][0]), len(seen[site][1])
		g["total_objects"] = g["total_objects"].(int) + 1
		g["total_size_mb"] = g["total_size_mb"].(float64) + max(0, size)/(1<<20)
		g["task_state_counts"].(map[string]int)[show(row["task_status"])]++
		g["task_attempt_number_counts"].(map[string]int)[show(row["attempt_number"])]++
		g["ref_type_counts"].(map[string]int)[show(row["reference_type"])]++
	}
	return map[string]any{
		"summary": groups, "total_objects": len(rows), "total_size_mb": total / (1 << 20),
		"callsite_enabled": enabled, "summary_by": "callsite", "total_num_workers": len(workers),
	}
}

// timeline gives tasks as events of the Chrome trace format.
func (s *Server) timeline(w http.ResponseWriter, r *http.Request) {
	rows, _, err := s.o.Source.Rows(r.Context(), "tasks")
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	events := []map[string]any{}
	job := r.URL.Query().Get("job_id")
	for _, row := range rows {
		start, _ := strconv.ParseFloat(show(row["start_time_ms"]), 64)
		end, _ := strconv.ParseFloat(show(row["end_time_ms"]), 64)
		if start == 0 || end == 0 || job != "" && show(row["job_id"]) != job {
			continue
		}
		events = append(events, map[string]any{
			"cat": "task", "name": row["name"], "ph": "X", "pid": "node:" + short(show(row["node_id"])),
			"tid": "worker:" + short(show(row["worker_id"])), "ts": start * 1000, "dur": (end - start) * 1000,
			"args": map[string]any{"task_id": row["task_id"], "job_id": row["job_id"], "attempt_number": row["attempt_number"]},
		})
	}
	if r.URL.Query().Get("download") == "1" {
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "timeline.json"))
	}
	writeJSON(w, events)
}

func short(id string) string { return id[:min(len(id), 8)] }
