package gce

import (
	"net/http"
	"strings"
	"time"
)

// operation is something that takes its time.
type operation struct {
	Resource
	done    time.Time // when it ends
	finish  func()    // what it does then; called once, locked
	stopped chan struct{}
}

// begin starts an operation; finish is called, locked, when it ends.
func (s *Server) begin(kind, zone, target string, refusal *Refusal, finish func()) Resource {
	o := &operation{
		Resource: Resource{
			"kind": "compute#operation", "name": s.number("operation-"), "operationType": kind, "targetLink": target,
			"status": "RUNNING", "insertTime": time.Now().Format(time.RFC3339Nano), "user": "someone@example.com",
		},
		done: time.Now().Add(s.o.Latency), finish: finish, stopped: make(chan struct{}),
	}
	if zone != "" {
		o.Resource["zone"] = zoneURL(s.o.Project, zone)
	}
	if refusal != nil {
		o.finish = func() {
			o.Resource["error"] = map[string]any{"errors": []any{map[string]any{"code": refusal.Code, "message": refusal.Message}}}
			o.Resource["httpErrorStatusCode"], o.Resource["httpErrorMessage"] = http.StatusServiceUnavailable, "SERVICE UNAVAILABLE"
		}
	}
	s.operations[o.Text("name")] = o
	s.settle(time.Now())
	return clone(o.Resource)
}

// settle ends the operations whose time has come.
func (s *Server) settle(now time.Time) {
	for _, o := range s.operations {
		if o.Text("status") == "DONE" || now.Before(o.done) {
			continue
		}
		o.Resource["status"], o.Resource["endTime"] = "DONE", now.Format(time.RFC3339Nano)
		if o.finish != nil {
			o.finish()
		}
		close(o.stopped)
	}
}

func (s *Server) operation(r *http.Request) (*operation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(time.Now())
	o := s.operations[r.PathValue("name")]
	if o == nil {
		return nil, missing(r.URL.Path)
	}
	return o, nil
}

func (s *Server) getOperation(r *http.Request, _ Resource) (Resource, error) {
	o, err := s.operation(r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(o.Resource), nil
}

// mostWait is how long the service holds a wait call open.
const mostWait = 2 * time.Minute

func (s *Server) waitOperation(r *http.Request, _ Resource) (Resource, error) {
	o, err := s.operation(r)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(min(time.Until(o.done), mostWait))
	defer timer.Stop()
	select {
	case <-o.stopped:
	case <-timer.C:
	case <-r.Context().Done():
	}
	return s.getOperation(r, nil)
}

// listOperations answers the one question that is asked of it: which
// instances were preempted.
func (s *Server) listOperations(r *http.Request, _ Resource) (Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep, err := parseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return nil, err
	}
	items := []any{}
	for _, o := range s.operations {
		if strings.HasSuffix(o.Text("zone"), "/"+r.PathValue("zone")) && keep(o.Resource) {
			items = append(items, clone(o.Resource))
		}
	}
	return Resource{"items": items}, nil
}
