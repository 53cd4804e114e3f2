package head

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/statustext"
	"ray/internal/wire"
)

// Limits of a status.
const (
	statusActors = 1000
	statusTasks  = 1000
	statusEvents = 200
	queryTimeout = 5 * time.Second
)

// Status is everything that ray status, its view and the dashboard show. The
// nodes are asked for their tasks.
func (h *Head) Status(ctx context.Context) spec.Status {
	s := h.coreStatus()
	for _, row := range h.Query(ctx, "tasks", statusTasks).Rows {
		if t, ok := taskOf(row); ok && len(s.Tasks) < statusTasks {
			s.Tasks = append(s.Tasks, t)
		}
	}
	return s
}

// coreStatus is the part that the head knows by itself.
func (h *Head) coreStatus() spec.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := spec.Status{
		ClusterName: h.cfg.ClusterName, ClusterID: h.tables.ClusterID(), Address: h.ready.Address,
		Dashboard: h.ready.Dashboard, SessionDir: h.cfg.SessionDir, TimeMS: h.now(),
		Nodes: h.tables.Nodes(), Demands: h.demands(), Constraints: h.tables.Constraints(), Jobs: h.tables.Jobs(),
		GroupReserved: spec.Resources{}, GroupUsed: spec.Resources{},
	}
	if h.notice != (spec.Drain{}) {
		notice := h.notice
		s.HeadNotice = &notice
	}
	for _, g := range h.tables.Groups() {
		if g.Info.State != spec.PGCreated && g.Info.State != spec.PGRemoved {
			s.Groups = append(s.Groups, g.Info)
		}
	}
	for _, n := range h.soft {
		s.GroupReserved.Add(n.beat.GroupReserved)
		s.GroupUsed.Add(n.beat.GroupUsed)
		for _, row := range n.rows {
			if n.reasons[row.Key].Infeasible {
				s.Infeasible = append(s.Infeasible, spec.Demand{
					Resources: row.Resources, LabelSelector: row.LabelSelector, Fallback: row.Fallback, Count: row.Count,
					Kind: "task", Reason: n.reasons[row.Key].Text, Name: row.Name, JobID: row.JobID,
				})
			}
		}
	}
	actors := h.tables.Actors()
	for _, a := range slices.Backward(actors) { // the newest, living ones first
		if len(s.Actors) < statusActors && a.Info.State != spec.ActorDead {
			s.Actors = append(s.Actors, a.Info)
		}
	}
	s.Events = slices.Clone(h.events[max(0, len(h.events)-statusEvents):])
	if h.scaler != nil {
		s.Autoscaling = true
		h.scaler.fill(&s)
	}
	return s
}

func taskOf(row map[string]any) (t spec.TaskInfo, ok bool) {
	text, err := json.Marshal(row)
	if err != nil || json.Unmarshal(text, &t) != nil {
		return t, false
	}
	return t, t.State != "FINISHED" && t.State != "FAILED"
}

// Query asks every node for rows. Missing counts nodes that did not answer.
func (h *Head) Query(ctx context.Context, kind string, limit int) QueryResult {
	h.mu.Lock()
	peers := make(map[spec.NodeID]*wire.Peer, len(h.links))
	for id, l := range h.links {
		peers[id] = l.peer
	}
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var out QueryResult
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() {
			var reply wire.QueryReply
			_, err := p.Call(ctx, wire.MethodQuery, wire.Query{Kind: kind, Limit: limit}, &reply, nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.Missing++
				return
			}
			out.Total += reply.Total
			out.Rows = append(out.Rows, reply.Rows...)
		})
	}
	wg.Wait()
	return out
}

// QueryResult sums the rows of all nodes.
type QueryResult struct {
	Total   int
	Rows    []map[string]any
	Missing int // nodes that did not answer
}

func (h *Head) statusCall(r *request) (any, gcs.Change, error) {
	h.background(r, func(ctx context.Context) (any, []byte, error) { return h.Status(ctx), nil, nil })
	return nil, gcs.Change{}, nil
}

// memorySummary is the text of `ray memory`, for programs.
func (h *Head) memorySummary(r *request) (any, gcs.Change, error) {
	var o statustext.MemoryOptions
	if err := cmp.Or(r.decode(&o), o.Check()); err != nil {
		return nil, gcs.Change{}, err
	}
	o.Time = time.Now().Format("2006-01-02 15:04:05.000000")
	h.background(r, func(ctx context.Context) (any, []byte, error) {
		stores, err := rowsAs[statustext.ObjectStore](h.Query(ctx, "object_stores", maxRows).Rows)
		if err != nil {
			return nil, nil, err
		}
		if o.StatsOnly {
			return map[string]any{"text": statustext.Stores(stores)}, nil, nil
		}
		rows, err := rowsAs[statustext.Held](h.Query(ctx, "objects", maxRows).Rows)
		if err != nil {
			return nil, nil, err
		}
		var b strings.Builder
		statustext.Memory(&b, rows, stores, o)
		return map[string]any{"text": b.String()}, nil, nil
	})
	return nil, gcs.Change{}, nil
}

// rowsAs reads rows of nodes into structs.
func rowsAs[T any](rows []map[string]any) (out []T, err error) {
	text, err := json.Marshal(rows)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	return out, err
}

// autoscalerRequest is request_resources: it replaces the last one.
func (h *Head) autoscalerRequest(r *request) (any, gcs.Change, error) {
	var req struct {
		Bundles []struct {
			Resources     spec.Resources    `json:"resources"`
			LabelSelector map[string]string `json:"label_selector"`
			Count         int               `json:"count"`
		} `json:"bundles"`
	}
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	var demands []spec.Demand
	for _, b := range req.Bundles {
		demands = append(demands, spec.Demand{Resources: b.Resources, LabelSelector: b.LabelSelector, Count: max(1, b.Count), Kind: "constraint"})
	}
	h.kick()
	return map[string]any{}, h.tables.SetConstraints(demands), nil
}
