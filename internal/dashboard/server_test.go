package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ray/internal/spec"
	"ray/internal/wire"
)

// fakeSource is a cluster of one node with two tasks and one log.
type fakeSource struct{ nodes []spec.Node }

func (f fakeSource) Status(context.Context) spec.Status {
	return spec.Status{ClusterID: "c", Nodes: f.nodes, Jobs: []spec.Job{{Status: spec.JobRunning}},
		Demands: []spec.Demand{{Kind: "task", Count: 3}}}
}
func (f fakeSource) Nodes() []spec.Node { return f.nodes }
func (f fakeSource) Rows(_ context.Context, resource string) ([]map[string]any, int, error) {
	switch resource {
	case "tasks":
		return []map[string]any{
			{"task_id": "2", "name": "g", "state": "RUNNING", "type": "NORMAL_TASK", "func_or_class_name": "g", "worker_pid": 7.0, "node_id": f.nodes[0].ID.String(), "start_time_ms": 1.0, "end_time_ms": 3.0},
			{"task_id": "1", "name": "f", "state": "FINISHED", "type": "NORMAL_TASK", "func_or_class_name": "f", "extra": 1},
		}, 1, nil
	case "actors", "objects", "nodes", "jobs", "workers", "placement_groups", "runtime_envs", "cluster_events":
		return nil, 0, nil
	}
	return nil, 0, errors.New("no such rows")
}
func (f fakeSource) CallNode(_ context.Context, _ spec.NodeID, method string, in, out any, _ []byte) ([]byte, error) {
	switch in := in.(type) {
	case wire.LogList:
		*out.(*[]wire.LogFile) = []wire.LogFile{{Name: "worker-a-01-7.out"}, {Name: "raylet.out"}}
		return nil, nil
	case wire.LogRead:
		if in.File == "secret" {
			return nil, errors.New("outside of the log folder")
		}
		*out.(*wire.LogChunk) = wire.LogChunk{Next: in.Offset + 3, EOF: true}
		return []byte(in.File + "\n"), nil
	}
	return nil, errors.New(method)
}
func (f fakeSource) ClusterID() string   { return "c" }
func (f fakeSource) SessionName() string { return "s" }

const token = "0123456789abcdef"

func newServer(t *testing.T) *httptest.Server {
	t.Helper()
	node := spec.Node{NodeInfo: spec.NodeInfo{ID: spec.NodeID{1}, IP: "10.0.0.1", Hostname: "h", Head: true, Total: spec.FromFloats(map[string]float64{"CPU": 4})}, State: spec.NodeAlive, Available: spec.FromFloats(map[string]float64{"CPU": 1})}
	s := &Server{o: Options{Source: fakeSource{[]spec.Node{node}}, Token: token, Jobs: func(m *http.ServeMux) {
		m.HandleFunc("POST /api/jobs/", func(http.ResponseWriter, *http.Request) {})
	}}, busy: make(chan struct{}, 2)}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server
}

func do(t *testing.T, method, url string, headers ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Header
}

func TestGuard(t *testing.T) {
	url := newServer(t).URL
	good, cookie := "Bearer "+token, cookieName+"="+token
	for _, c := range []struct {
		name, method, path string
		headers            []string
		code               int
	}{
		{"no token", "GET", "/api/v1/status", nil, 401},
		{"wrong token", "GET", "/api/v1/status", []string{"Authorization", "Bearer x"}, 403},
		{"header", "GET", "/api/v1/status", []string{"Authorization", good}, 200},
		{"second header", "GET", "/api/v1/status", []string{"X-Ray-Authorization", good}, 200},
		{"cookie", "GET", "/api/v1/status", []string{"Cookie", cookie}, 200},
		{"metrics", "GET", "/metrics", nil, 401},
		{"page", "GET", "/", nil, 200},
		{"health", "GET", "/api/gcs_healthz", nil, 200},
		{"mode", "GET", "/api/authentication_mode", nil, 200},
		{"not the page", "GET", "/x", nil, 401},
		{"browser posts", "POST", "/api/jobs/", []string{"Cookie", cookie, "User-Agent", "Mozilla/5.0"}, 405},
		{"browser fetches", "POST", "/api/jobs/", []string{"Authorization", good, "Sec-Fetch-Mode", "cors"}, 405},
		{"client posts", "POST", "/api/jobs/", []string{"Authorization", good}, 200},
		{"browser logs in", "POST", "/api/authenticate", []string{"Authorization", good, "User-Agent", "Mozilla/5.0"}, 200},
		{"browser guesses", "POST", "/api/authenticate", []string{"Authorization", "Bearer x", "User-Agent", "Mozilla/5.0"}, 403},
	} {
		code, text, h := do(t, c.method, url+c.path, c.headers...)
		if code != c.code {
			t.Errorf("%s: %d %s", c.name, code, text)
		}
		if set := h.Get("Set-Cookie"); (c.name == "browser logs in") != (set != "") || set != "" && (!strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Strict")) {
			t.Errorf("%s: cookie %q", c.name, set)
		}
	}
}

func get(t *testing.T, url string) (reply struct {
	Result bool
	Msg    string
	Data   struct{ Result json.RawMessage }
}) {
	t.Helper()
	_, text, _ := do(t, "GET", url, "Authorization", "Bearer "+token)
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		t.Fatalf("%s: %s", url, text)
	}
	return reply
}

func TestStateAPI(t *testing.T) {
	url := newServer(t).URL
	var payload struct {
		Total    int              `json:"total"`
		Filtered int              `json:"num_filtered"`
		Shown    int              `json:"num_after_truncation"`
		Warning  string           `json:"partial_failure_warning"`
		Result   []map[string]any `json:"result"`
	}
	if err := json.Unmarshal(get(t, url+"/api/v0/tasks?limit=1").Data.Result, &payload); err != nil {
		t.Fatal(err)
	}
	if payload.Total != 2 || payload.Filtered != 2 || payload.Shown != 1 || payload.Result[0]["task_id"] != "1" || !strings.Contains(payload.Warning, "1 node") {
		t.Errorf("tasks %+v", payload)
	}
	if _, detail := payload.Result[0]["extra"]; detail {
		t.Error("a detail column without detail")
	}
	_ = json.Unmarshal(get(t, url+"/api/v0/tasks?detail=1&filter_keys=state&filter_predicates=!%3D&filter_values=running").Data.Result, &payload)
	if payload.Filtered != 1 || payload.Result[0]["extra"] == nil {
		t.Errorf("filtered %+v", payload)
	}
	for _, bad := range []string{"limit=0", "limit=10001", "filter_keys=a", "filter_keys=state&filter_predicates=~&filter_values=x"} {
		if r := get(t, url+"/api/v0/tasks?"+bad); r.Result || r.Msg == "" {
			t.Errorf("%s was taken: %+v", bad, r)
		}
	}
	text := string(get(t, url+"/api/v0/tasks/summarize").Data.Result)
	if !strings.Contains(text, `"total_tasks":2`) || !strings.Contains(text, `"state_counts":{"RUNNING":1}`) {
		t.Errorf("summary %s", text)
	}
	for _, resource := range Resources {
		if r := get(t, url+"/api/v0/"+resource); !r.Result {
			t.Errorf("%s: %s", resource, r.Msg)
		}
	}
}

func TestLogs(t *testing.T) {
	url := newServer(t).URL
	if text := string(get(t, url+"/api/v0/logs").Data.Result); !strings.Contains(text, `"worker_out":["worker-a-01-7.out"]`) || !strings.Contains(text, `"raylet":["raylet.out"]`) {
		t.Errorf("list %s", text)
	}
	for path, want := range map[string]string{
		"file?filename=raylet.out":              "raylet.out\n",
		"file?task_id=2&suffix=out":             "raylet.out\n", // the last of the files that match
		"file?filename=x&node_ip=9.9.9.9":       "no living node",
		"file?task_id=1":                        "has not started anywhere",
		"file":                                  "say which log",
		"file?filename=secret":                  "outside of the log folder",
		"nothing?filename=x":                    "404",
		"file?filename=a&download_filename=b\"": "a\n",
	} {
		if _, text, _ := do(t, "GET", url+"/api/v0/logs/"+path, "Authorization", "Bearer "+token); !strings.Contains(text, want) {
			t.Errorf("%s: %q", path, text)
		}
	}
}

func TestOtherPaths(t *testing.T) {
	url := newServer(t).URL
	for path, want := range map[string]string{
		"/metrics":                       "ray_resources{Name=\"CPU\",State=\"USED\"} 3",
		"/nodes?view=summary":            `"isHeadNode":true`,
		"/nodes?view=hostNameList":       `"hostNameList":["h"]`,
		"/nodes/" + "00":                 "no node 00",
		"/api/cluster_status":            `"clusterStatus"`,
		"/api/cluster_status?format=1":   "Node status",
		"/api/component_activities":      `"ACTIVE"`,
		"/api/v0/tasks/timeline":         `"ph":"X"`,
		"/api/v0/cluster_metadata":       `"clusterId":"c"`,
		"/api/v1/status":                 `"cluster_id":"c"`,
		"/logical/actors":                `"actors"`,
		"/":                              "<!doctype html>",
		"/api/v0/tasks/timeline?job_id=": `"name":"g"`,
	} {
		if code, text, _ := do(t, "GET", url+path, "Authorization", "Bearer "+token); !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
}
