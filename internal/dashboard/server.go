package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"ray/internal/spec"
)

// Source is what the HTTP side needs of the head.
type Source interface {
	// Status is the cluster's status now.
	Status(ctx context.Context) spec.Status
	// Nodes is the node table.
	Nodes() []spec.Node
	// Rows lists a resource of the state API with all columns; missing counts
	// nodes that did not answer.
	Rows(ctx context.Context, resource string) (rows []map[string]any, missing int, err error)
	// CallNode calls a node daemon.
	CallNode(ctx context.Context, node spec.NodeID, method string, in, out any, tail []byte) ([]byte, error)
	ClusterID() string
	SessionName() string
}

// Options configure a Server.
type Options struct {
	Source Source
	// Jobs adds the job API to the mux; nil = none.
	Jobs func(*http.ServeMux)
	// Token is what every request must carry; "" = none is wanted.
	Token string
	Log   *slog.Logger
}

// Server serves HTTP on a listener until Close.
type Server struct {
	o      Options
	http   *http.Server
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	busy   chan struct{} // state API calls in flight
}

// maxInFlight is how many state API calls are served at a time; more get 429.
const maxInFlight = 64

// Serve starts to serve l.
func Serve(l net.Listener, o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Server{o: o, busy: make(chan struct{}, maxInFlight)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ErrorLog:    slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	s.work.Go(func() {
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("the dashboard has stopped", "err", err)
		}
	})
	return s
}

// Close ends every request and waits for the server's goroutine.
func (s *Server) Close() {
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // requests that do not end are cut off
	}
	s.work.Wait()
}

// Handler is everything behind the guard.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	if s.o.Jobs != nil {
		s.o.Jobs(mux)
	}
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /api/authenticate", s.authenticate)
	mux.HandleFunc("GET /api/authentication_mode", s.authenticationMode)
	for _, path := range []string{"/api/healthz", "/api/gcs_healthz", "/api/local_raylet_healthz", "/-/healthz"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("success")) })
	}
	mux.HandleFunc("GET /api/v1/status", s.status)
	mux.HandleFunc("GET /api/cluster_status", s.clusterStatus)
	mux.HandleFunc("GET /nodes", s.nodes)
	mux.HandleFunc("GET /nodes/{id}", s.node)
	mux.HandleFunc("GET /logical/actors", s.logicalActors)
	mux.HandleFunc("GET /cluster_id", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"clusterId": s.o.Source.ClusterID()})
	})
	mux.HandleFunc("GET /usage_stats_enabled", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"usageStatsEnabled": false, "usageStatsPromptEnabled": false})
	})
	mux.HandleFunc("GET /api/component_activities", s.activities)
	mux.HandleFunc("GET /api/v0/cluster_metadata", s.metadata)
	mux.HandleFunc("GET /api/v0/logs", s.limited(s.listLogs))
	mux.HandleFunc("GET /api/v0/logs/{media}", s.readLog)
	mux.HandleFunc("GET /api/v0/tasks/timeline", s.limited(s.timeline))
	mux.HandleFunc("GET /api/v0/{resource}", s.limited(s.list))
	for _, resource := range []string{"tasks", "actors", "objects"} {
		mux.HandleFunc("GET /api/v0/"+resource+"/summarize", s.limited(func(w http.ResponseWriter, r *http.Request) { s.summarize(w, r, resource) }))
	}
	mux.HandleFunc("GET /metrics", s.metrics)
	return s.guard(mux)
}

// limited refuses calls while too many are in flight.
func (s *Server) limited(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
			next(w, r)
		default:
			http.Error(w, "too many state API calls in flight; try again later", http.StatusTooManyRequests)
		}
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}

// answer wraps data as upstream's dashboard does.
func answer(w http.ResponseWriter, data any) {
	writeJSON(w, map[string]any{"result": true, "msg": "", "data": data})
}

// refuse answers in the same form that something is wrong.
func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"result": false, "msg": err.Error(), "data": map[string]any{"result": nil}})
}
