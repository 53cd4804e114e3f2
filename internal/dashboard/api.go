package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ray/internal/spec"
	"ray/internal/statustext"
)

// Limits of the state API.
const (
	defaultLimit = 100
	maxLimit     = 10_000
	defaultWait  = 30 * time.Second
)

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, s.o.Source.Status(r.Context()))
}

// clusterStatus is what upstream's ray status reads, as text with format=1.
func (s *Server) clusterStatus(w http.ResponseWriter, r *http.Request) {
	st := s.o.Source.Status(r.Context())
	var text any = st
	if r.URL.Query().Get("format") == "1" {
		text = statustext.Render(st, false)
	}
	answer(w, map[string]any{"clusterStatus": text, "autoscalingStatus": nil, "autoscalingError": nil})
}

func (s *Server) nodes(w http.ResponseWriter, r *http.Request) {
	nodes := s.o.Source.Nodes()
	if r.URL.Query().Get("view") == "hostNameList" {
		names := []string{}
		for _, n := range nodes {
			if n.State != spec.NodeDead {
				names = append(names, n.Hostname)
			}
		}
		answer(w, map[string]any{"hostNameList": names})
		return
	}
	rows := []map[string]any{}
	for _, n := range nodes {
		rows = append(rows, nodeSummary(n))
	}
	answer(w, map[string]any{"summary": rows, "nodeLogicalResources": map[string]any{}})
}

func (s *Server) node(w http.ResponseWriter, r *http.Request) {
	for _, n := range s.o.Source.Nodes() {
		if n.ID.String() == r.PathValue("id") {
			answer(w, map[string]any{"detail": nodeSummary(n)})
			return
		}
	}
	refuse(w, http.StatusNotFound, fmt.Errorf("no node %s", r.PathValue("id")))
}

func nodeSummary(n spec.Node) map[string]any {
	state := n.State
	if state == spec.NodeDraining {
		state = spec.NodeAlive
	}
	return map[string]any{
		"hostname": n.Hostname, "ip": n.IP, "now": time.Now().Unix(), "nodeType": n.NodeType,
		"raylet": map[string]any{
			"nodeId": n.ID.String(), "nodeManagerAddress": n.IP, "nodeManagerHostname": n.Hostname, "state": state,
			"stateMessage": n.DeathReason, "isHeadNode": n.Head, "labels": n.Labels, "startTimeMs": n.StartMS, "endTimeMs": n.EndMS,
			"resourcesTotal": n.Total.Floats(), "resourcesAvailable": n.Available.Floats(), "nodeName": n.Name,
		},
	}
}

func (s *Server) logicalActors(w http.ResponseWriter, r *http.Request) {
	rows, _, err := s.o.Source.Rows(r.Context(), "actors")
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	byID := map[string]any{}
	for _, row := range rows {
		byID[show(row["actor_id"])] = row
	}
	answer(w, map[string]any{"actors": byID})
}

// activities tells whether a driver runs, for tools that end idle clusters.
func (s *Server) activities(w http.ResponseWriter, r *http.Request) {
	st := s.o.Source.Status(r.Context())
	active, last := 0, int64(0)
	for _, j := range st.Jobs {
		if j.Status == spec.JobRunning || j.Status == spec.JobPending {
			active++
		}
		last = max(last, j.EndMS, j.StartMS)
	}
	state, reason := "INACTIVE", any(nil)
	if active > 0 {
		state, reason = "ACTIVE", fmt.Sprintf("Number of active drivers: %d", active)
	}
	writeJSON(w, map[string]any{"driver": map[string]any{
		"is_active": state, "reason": reason, "timestamp": float64(time.Now().UnixMilli()) / 1000, "last_activity_at": float64(last) / 1000,
	}})
}

func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"sessionName": s.o.Source.SessionName(), "clusterId": s.o.Source.ClusterID(), "rayVersion": "2.60.0"})
}

// query holds the parameters that state calls share.
type query struct {
	limit   int
	detail  bool
	filters []Filter
	ctx     context.Context
	cancel  context.CancelFunc
}

func parseQuery(r *http.Request) (q query, err error) {
	v := r.URL.Query()
	q.limit = defaultLimit
	if text := v.Get("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 {
			return q, fmt.Errorf("limit %q is no positive number", text)
		}
	}
	if q.limit > maxLimit {
		return q, fmt.Errorf("limit %d is more than the %d rows that are given at once", q.limit, maxLimit)
	}
	q.detail = v.Get("detail") == "1" || v.Get("detail") == "true"
	keys, predicates, values := v["filter_keys"], v["filter_predicates"], v["filter_values"]
	if len(keys) != len(predicates) || len(keys) != len(values) {
		return q, errors.New("filter_keys, filter_predicates and filter_values must be as many")
	}
	for i := range keys {
		q.filters = append(q.filters, Filter{keys[i], predicates[i], values[i]})
	}
	wait := defaultWait
	if seconds, err := strconv.ParseFloat(v.Get("timeout"), 64); err == nil && seconds > 0 {
		wait = time.Duration(seconds * float64(time.Second))
	}
	q.ctx, q.cancel = context.WithTimeout(r.Context(), wait)
	return q, nil
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	resource := r.PathValue("resource")
	if resource != ObjectStores && !slices.Contains(Resources, resource) {
		http.NotFound(w, r)
		return
	}
	q, err := parseQuery(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	defer q.cancel()
	rows, missing, err := s.o.Source.Rows(q.ctx, resource)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	if resource == "workers" && r.URL.Query().Get("exclude_driver") == "1" {
		rows = slices.DeleteFunc(rows, func(row map[string]any) bool { return row["worker_type"] == "DRIVER" })
	}
	if resource == "tasks" && wantsDrivers(r) {
		drivers, _, err := s.o.Source.Rows(q.ctx, Drivers)
		if err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		rows = append(rows, drivers...)
	}
	sel, err := Select(resource, rows, q.filters, q.limit, q.detail)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	answer(w, map[string]any{"result": listPayload(sel.Total, len(sel.Rows), sel.Filtered, sel.Rows, missing)})
}

// wantsDrivers tells whether the drivers are to be listed among the tasks.
func wantsDrivers(r *http.Request) bool {
	exclude := strings.ToLower(r.URL.Query().Get("exclude_driver"))
	return exclude == "0" || exclude == "false"
}

func listPayload(total, shown, filtered int, result any, missing int) map[string]any {
	warning := ""
	if missing > 0 {
		warning = fmt.Sprintf("%d node(s) did not answer; their rows are missing.", missing)
	}
	return map[string]any{
		"total": total, "num_after_truncation": shown, "num_filtered": filtered, "result": result,
		"partial_failure_warning": warning, "warnings": []string{},
	}
}

func (s *Server) summarize(w http.ResponseWriter, r *http.Request, resource string) {
	q, err := parseQuery(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	defer q.cancel()
	rows, missing, err := s.o.Source.Rows(q.ctx, resource)
	if err == nil {
		var sel Selection
		if sel, err = Select(resource, rows, q.filters, 0, true); err == nil {
			summary := map[string]any{"node_id_to_summary": map[string]any{"cluster": Summarize(resource, sel.Rows)}}
			answer(w, map[string]any{"result": listPayload(sel.Total, len(sel.Rows), sel.Filtered, summary, missing)})
			return
		}
	}
	refuse(w, http.StatusInternalServerError, err)
}
