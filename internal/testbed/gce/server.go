package gce

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Region and the zones in it that exist unless told otherwise.
const Region = "us-test1"

// Options say what the service is like.
type Options struct {
	Project string
	Zones   []string      // default: Region with -a, -b and -c
	Latency time.Duration // how long an operation takes
	// PageSize is how many rows an answer holds; 0 is 500, as in the real one.
	PageSize int
	// Refuse is asked before an instance is made; a *Refusal fails the operation.
	Refuse func(zone string, instance Resource) *Refusal
	// Boot gives a new instance its addresses, once it runs; nil invents them.
	Boot func(instance Resource) (internal, external string, err error)
	// Ended is told of every instance that was deleted, stopped or preempted.
	Ended func(instance Resource)
}

// Refusal is the error of an operation.
type Refusal struct{ Code, Message string }

// Resource is a resource as its JSON says.
type Resource map[string]any

// Text gives a field that is a text, "" if it is none.
func (r Resource) Text(key string) string { s, _ := r[key].(string); return s }

// Server answers the calls. It is an http.Handler.
type Server struct {
	o   Options
	mux *http.ServeMux

	mu         sync.Mutex
	instances  map[string]Resource // zone/name
	operations map[string]*operation
	metadata   Resource // of the project
	policy     Resource
	accounts   map[string]Resource
	count      int // of everything that gets a number
	throttle   int // how many calls are still to be refused
	calls      []string
}

// New gives a service without instances.
func New(o Options) *Server {
	if len(o.Zones) == 0 {
		o.Zones = []string{Region + "-a", Region + "-b", Region + "-c"}
	}
	if o.PageSize == 0 {
		o.PageSize = 500
	}
	s := &Server{
		o: o, mux: http.NewServeMux(), instances: map[string]Resource{}, operations: map[string]*operation{},
		metadata: Resource{"fingerprint": "m0"}, policy: Resource{"etag": "p0", "bindings": []any{}}, accounts: map[string]Resource{},
	}
	s.routes()
	return s
}

// Throttle makes the service refuse the next n calls as too many.
func (s *Server) Throttle(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttle = n
}

// Calls lists what was asked: method and path.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	refused := s.throttle > 0
	if refused {
		s.throttle--
	}
	s.mu.Unlock()
	if refused {
		fail(w, http.StatusForbidden, "rateLimitExceeded", "Rate Limit Exceeded")
		return
	}
	s.mux.ServeHTTP(w, r)
}

const compute = "/compute/v1/projects/{project}"

func (s *Server) routes() {
	handle := func(pattern string, f func(r *http.Request, body Resource) (Resource, error)) {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, f) })
	}
	handle("GET "+compute, s.getProject)
	handle("POST "+compute+"/setCommonInstanceMetadata", s.setProjectMetadata)
	handle("GET "+compute+"/zones", s.listZones)
	handle("GET "+compute+"/regions/{region}/subnetworks", s.listSubnetworks)
	handle("GET "+compute+"/zones/{zone}/machineTypes/{name}", s.getMachineType)
	handle("GET "+compute+"/aggregated/instances", s.aggregated)
	handle("GET "+compute+"/zones/{zone}/instances", s.list)
	handle("POST "+compute+"/zones/{zone}/instances", s.insert)
	handle("GET "+compute+"/zones/{zone}/instances/{name}", s.get)
	handle("DELETE "+compute+"/zones/{zone}/instances/{name}", s.remove)
	handle("POST "+compute+"/zones/{zone}/instances/{name}/{verb}", s.change)
	handle("GET "+compute+"/zones/{zone}/operations", s.listOperations)
	handle("GET "+compute+"/zones/{zone}/operations/{name}", s.getOperation)
	handle("POST "+compute+"/zones/{zone}/operations/{name}/wait", s.waitOperation)
	handle("GET "+compute+"/global/operations/{name}", s.getOperation)
	handle("GET /v1/projects/{project}", s.lookAtProject)
	handle("POST /v1/projects/{call}", s.projectPolicy)
	handle("GET /v1/projects/{project}/serviceAccounts/{account}", s.getAccount)
	handle("POST /v1/projects/{project}/serviceAccounts", s.createAccount)
}

// refusedCall is an error of a call, as opposed to one of an operation.
type refusedCall struct {
	status          int
	reason, message string
}

func (e refusedCall) Error() string { return e.message }

func missing(what string) error {
	return refusedCall{http.StatusNotFound, "notFound", "The resource '" + what + "' was not found"}
}

func invalid(format string, args ...any) error {
	return refusedCall{http.StatusBadRequest, "invalid", fmt.Sprintf(format, args...)}
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, f func(*http.Request, Resource) (Resource, error)) {
	if p := r.PathValue("project"); p != "" && p != s.o.Project {
		fail(w, http.StatusNotFound, "notFound", "The resource 'projects/"+p+"' was not found")
		return
	}
	if z := r.PathValue("zone"); z != "" && !slices.Contains(s.o.Zones, z) {
		fail(w, http.StatusBadRequest, "invalid", "Invalid value for field 'zone': '"+z+"'. Unknown zone.")
		return
	}
	var body Resource
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			fail(w, http.StatusBadRequest, "parseError", "Parse Error")
			return
		}
	}
	out, err := f(r, body)
	if e, ok := err.(refusedCall); ok {
		fail(w, e.status, e.reason, e.message)
		return
	}
	if err != nil {
		fail(w, http.StatusInternalServerError, "backendError", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func fail(w http.ResponseWriter, status int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": status, "message": message, "errors": []any{map[string]any{"domain": "global", "reason": reason, "message": message}},
	}})
}

// number gives the next of a kind of name.
func (s *Server) number(prefix string) string {
	s.count++
	return fmt.Sprintf("%s%d", prefix, s.count)
}

// last is what follows the last slash: the name in a URL.
func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
