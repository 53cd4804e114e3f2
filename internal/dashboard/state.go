package dashboard

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// columns of the state API: the plain ones; with detail every one that a row has is shown.
var columns = map[string]struct{ id, plain string }{
	"actors":            {"actor_id", "actor_id class_name state job_id name node_id pid ray_namespace"},
	"jobs":              {"job_id", "type job_id submission_id driver_info status entrypoint message error_type start_time end_time metadata runtime_env driver_agent_http_address driver_node_id driver_exit_code"},
	"nodes":             {"node_id", "node_id node_ip is_head_node state state_message node_name resources_total labels"},
	"placement_groups":  {"placement_group_id", "placement_group_id name creator_job_id state"},
	"workers":           {"worker_id", "worker_id is_alive worker_type exit_type node_id ip pid"},
	"tasks":             {"task_id", "task_id attempt_number name state job_id actor_id type func_or_class_name parent_task_id node_id worker_id worker_pid error_type"},
	"objects":           {"object_id", "object_id object_size task_status attempt_number reference_type call_site type pid ip"},
	"runtime_envs":      {"runtime_env", "runtime_env success creation_time_ms node_id"},
	"cluster_events":    {"event_id", "severity time source_type message event_id"},
	ObjectStores:        {"node_id", ""},
	"detailed_workers":  {"worker_id", ""},
	"autoscaler_events": {"time_ms", ""},
}

// unfilled are columns that a resource has and that no row need hold: a filter may name them.
var unfilled = map[string]string{
	"tasks":   "runtime_env_info profiling_data creation_time_ms start_time_ms end_time_ms task_log_info error_message is_debugger_paused call_site fallback_strategy",
	"workers": "exit_detail debugger_port num_paused_threads",
	"actors":  "death_cause call_site",
}

// Resources are the names that the state API lists.
var Resources = []string{"actors", "jobs", "nodes", "placement_groups", "workers", "tasks", "objects", "runtime_envs", "cluster_events"}

// ObjectStores is what `ray memory` asks for besides: a row for each node's store.
const ObjectStores = "object_stores"

// Drivers is a resource of the head's for the drivers, each as the row of a task.
const Drivers = "drivers"

// Filter keeps rows whose column compares: Predicate is "=" or "!=".
type Filter struct{ Key, Predicate, Value string }

// Selection is what is left of all rows.
type Selection struct {
	Total    int // before filters
	Filtered int // after them
	Rows     []map[string]any
}

// Select filters, sorts by id, cuts to limit and, without detail, drops the
// detail columns.
func Select(resource string, rows []map[string]any, filters []Filter, limit int, detail bool) (Selection, error) {
	col, ok := columns[resource]
	if !ok {
		return Selection{}, fmt.Errorf("unknown resource %q; there are %s", resource, strings.Join(Resources, ", "))
	}
	filters, err := columnsOf(filters, rows, strings.Fields(col.plain+" "+unfilled[resource]))
	if err != nil {
		return Selection{}, err
	}
	s := Selection{Total: len(rows), Rows: []map[string]any{}}
	for _, row := range rows {
		keep, err := keeps(row, filters)
		if err != nil {
			return s, err
		}
		if keep {
			s.Rows = append(s.Rows, row)
		}
	}
	s.Filtered = len(s.Rows)
	if resource != "cluster_events" && resource != "jobs" && resource != "nodes" {
		slices.SortStableFunc(s.Rows, func(a, b map[string]any) int { return strings.Compare(show(a[col.id]), show(b[col.id])) })
	}
	if limit > 0 && len(s.Rows) > limit {
		s.Rows = s.Rows[:limit]
	}
	if !detail && col.plain != "" {
		for i, row := range s.Rows {
			s.Rows[i] = pick(row, strings.Fields(col.plain))
		}
	}
	return s, nil
}

func pick(row map[string]any, names []string) map[string]any {
	out := make(map[string]any, len(names))
	for _, k := range names {
		out[k] = row[k]
	}
	return out
}

// columnsOf gives the filters with their columns' names in lower case, and refuses one that neither any row nor the
// resource's table has: it would silently select nothing.
func columnsOf(filters []Filter, rows []map[string]any, plain []string) ([]Filter, error) {
	out := slices.Clone(filters)
	for i := range out {
		f := &out[i]
		f.Key = strings.ToLower(f.Key)
		if f.Key == "" {
			return nil, fmt.Errorf("a filter needs a column name")
		}
		has := func(row map[string]any) bool { _, ok := row[f.Key]; return ok }
		if len(rows) > 0 && !slices.Contains(plain, f.Key) && !slices.ContainsFunc(rows, has) {
			//lint:ignore ST1005 users see it as the text of an exception, as it is there
			return nil, fmt.Errorf("The given filter column %s is not supported. Supported are %s", f.Key, strings.Join(slices.Sorted(maps.Keys(rows[0])), ", "))
		}
	}
	return out, nil
}

func keeps(row map[string]any, filters []Filter) (bool, error) {
	for _, f := range filters {
		equal := strings.EqualFold(show(row[f.Key]), f.Value)
		switch f.Predicate {
		case "=", "":
			if !equal {
				return false, nil
			}
		case "!=":
			if equal {
				return false, nil
			}
		default:
			return false, fmt.Errorf("filter predicate %q: only = and != are supported", f.Predicate)
		}
	}
	return true, nil
}

// show is a value as filters see it.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}
