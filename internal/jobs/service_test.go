package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// fakeCluster is one node with a log file per job.
type fakeCluster struct {
	mu       sync.Mutex
	tables   *gcs.Tables
	node     spec.NodeID // zero: none yet
	runs     []wire.DriverRun
	stops    []wire.DriverStop
	stopsAt  []spec.NodeID // where each of them went
	logs     map[string][]byte
	packages map[string][]byte
	refuse   error
	started  func(id string)   // called while a node answers
	labels   map[string]string // the last that a node was picked by
}

func (f *fakeCluster) do(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
}

func (f *fakeCluster) Jobs() (out []spec.Job) { f.do(func() { out = f.tables.Jobs() }); return }
func (f *fakeCluster) Job(id string) (j spec.Job, ok bool) {
	f.do(func() { j, ok = f.tables.Job(id) })
	return
}
func (f *fakeCluster) SubmitJob(j spec.Job) (err error) {
	f.do(func() { _, err = f.tables.Submit(j) })
	return
}
func (f *fakeCluster) UpdateJob(id string, g func(*spec.Job)) (ok bool, err error) {
	f.do(func() { _, ok = f.tables.UpdateSubmission(id, g) })
	return
}
func (f *fakeCluster) DeleteJob(id string) error { f.do(func() { f.tables.DeleteJob(id) }); return nil }
func (f *fakeCluster) PickNode(need spec.Resources, labels map[string]string) (id spec.NodeID, reason string) {
	f.do(func() {
		f.labels = labels
		if id = f.node; id.IsZero() || need[spec.GPU] > 0 {
			id, reason = spec.NodeID{}, "no node has what it needs"
		}
	})
	return
}
func (f *fakeCluster) HasPackage(uri string) (ok bool, err error) {
	f.do(func() { _, ok = f.packages[uri] })
	return
}
func (f *fakeCluster) PutPackage(uri string, data []byte) error {
	f.do(func() { f.packages[uri] = data })
	return nil
}
func (f *fakeCluster) SessionName() string { return "session_x" }
func (f *fakeCluster) Address() string     { return "127.0.0.1:6379" }

func (f *fakeCluster) CallNode(_ context.Context, node spec.NodeID, method string, in, out any, _ []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	switch in := in.(type) {
	case wire.DriverRun:
		f.runs = append(f.runs, in)
		if f.started != nil {
			f.started(in.SubmissionID)
		}
		*out.(*wire.DriverStarted) = wire.DriverStarted{SubmissionID: in.SubmissionID, PID: 77}
	case wire.DriverStop:
		f.stops, f.stopsAt = append(f.stops, in), append(f.stopsAt, node)
	case wire.DriverForget:
		delete(f.logs, in.SubmissionID)
	case wire.LogRead:
		id := strings.TrimSuffix(strings.TrimPrefix(in.File, "job-driver-"), ".log")
		all := f.logs[id]
		piece := all[min(int(in.Offset), len(all)):]
		*out.(*wire.LogChunk) = wire.LogChunk{Next: int64(len(all)), EOF: true}
		return piece, nil
	default:
		return nil, fmt.Errorf("unexpected %s", method)
	}
	return nil, nil
}

func (f *fakeCluster) print(id, text string) {
	f.do(func() { f.logs[id] = append(f.logs[id], text...) })
}

// setup gives a service behind HTTP; no goroutine is left at the end.
func setup(t *testing.T) (*fakeCluster, *Service, string) {
	t.Helper()
	before := runtime.NumGoroutine()
	f := &fakeCluster{tables: gcs.New(), node: spec.NodeID{1}, logs: map[string][]byte{}, packages: map[string][]byte{}}
	s := New(f, slog.New(slog.DiscardHandler))
	mux := http.NewServeMux()
	s.Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		s.Close()
		http.DefaultClient.CloseIdleConnections()
		eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
	return f, s, server.URL
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func call(t *testing.T, method, url, body string, out any) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil && resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return resp.StatusCode, string(text)
}

func submit(t *testing.T, url, body string) string {
	t.Helper()
	var reply struct {
		JobID        string `json:"job_id"`
		SubmissionID string `json:"submission_id"`
	}
	if code, text := call(t, "POST", url+"/api/jobs/", body, &reply); code != 200 || reply.JobID != reply.SubmissionID {
		t.Fatalf("%d %s", code, text)
	}
	return reply.SubmissionID
}

func status(t *testing.T, f *fakeCluster, id, want string) spec.Job {
	t.Helper()
	var j spec.Job
	eventually(t, id+" is "+want, func() bool {
		j, _ = f.Job(id)
		return j.Status == want
	})
	return j
}

func TestJobLife(t *testing.T) {
	f, s, url := setup(t)
	id := submit(t, url, `{"entrypoint": "python x.py", "metadata": {"who": "me"}, "runtime_env": {"env_vars": {"A": "1"}}, "submission_id": null}`)
	if !strings.HasPrefix(id, "raysubmit_") || len(id) != 26 {
		t.Errorf("id %s", id)
	}
	status(t, f, id, spec.JobRunning)
	var run wire.DriverRun
	f.do(func() { run = f.runs[0] })
	if run.Env["RAY_ADDRESS"] != "127.0.0.1:6379" || !strings.Contains(run.Env["RAY_JOB_CONFIG_JSON_ENV_VAR"], `"job_submission_id":"`+id) {
		t.Errorf("environment %v", run.Env)
	}
	var details map[string]any
	call(t, "GET", url+"/api/jobs/"+id, "", &details)
	if details["status"] != "RUNNING" || details["type"] != "SUBMISSION" || details["metadata"].(map[string]any)["who"] != "me" {
		t.Errorf("details %v", details)
	}
	if code, text := call(t, "DELETE", url+"/api/jobs/"+id, "", nil); code != 500 || !strings.Contains(text, "non-terminal") {
		t.Errorf("delete of a running job: %d %s", code, text)
	}
	conn, _, err := websocket.Dial(context.Background(), strings.Replace(url, "http", "ws", 1)+"/api/jobs/"+id+"/logs/tail", nil)
	if err != nil {
		t.Fatal(err)
	}
	f.print(id, "hä")
	f.print(id, "llo\n")
	var seen bytes.Buffer
	eventually(t, "the first lines", func() bool {
		_, text, err := conn.Read(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(text)
		return strings.HasSuffix(seen.String(), "hällo\n")
	})
	f.print(id, "bye\n")
	s.Exited(wire.DriverExited{SubmissionID: id})
	for err == nil {
		var text []byte
		_, text, err = conn.Read(context.Background())
		seen.Write(text)
	}
	if websocket.CloseStatus(err) != websocket.StatusNormalClosure || seen.String() != "hällo\nbye\n" {
		t.Errorf("output %q, end %v", seen.String(), err)
	}
	j := status(t, f, id, spec.JobSucceeded)
	if j.Message != gcs.JobSucceededMessage || j.ExitCode == nil || *j.ExitCode != 0 || j.EndMS == 0 {
		t.Errorf("job %+v", j)
	}
	var logs struct{ Logs string }
	call(t, "GET", url+"/api/jobs/"+id+"/logs", "", &logs)
	if logs.Logs != "hällo\nbye\n" {
		t.Errorf("logs %q", logs.Logs)
	}
	if code, _ := call(t, "DELETE", url+"/api/jobs/"+id, "", nil); code != 200 {
		t.Errorf("delete: %d", code)
	}
	if f.logs[id] != nil {
		t.Error("a deleted job's output is left")
	}
	if code, text := call(t, "GET", url+"/api/jobs/"+id, "", nil); code != 404 || !strings.Contains(text, "does not exist") {
		t.Errorf("a deleted job: %d %s", code, text)
	}
}

func TestHowJobsFail(t *testing.T) {
	f, s, url := setup(t)
	code := submit(t, url, `{"entrypoint": "false", "submission_id": "one"}`)
	status(t, f, code, spec.JobRunning)
	f.print(code, "Traceback: boom\n")
	s.Exited(wire.DriverExited{SubmissionID: code, ExitCode: 3})
	j := status(t, f, code, spec.JobFailed)
	if !strings.Contains(j.Message, "exit code 3") || !strings.Contains(j.Message, "boom") || j.ErrorType != errCommand || *j.ExitCode != 3 {
		t.Errorf("exit status: %+v", j)
	}
	killed := submit(t, url, `{"entrypoint": "x"}`)
	status(t, f, killed, spec.JobRunning)
	s.Exited(wire.DriverExited{SubmissionID: killed, ExitCode: -1, Signal: 9})
	if j = status(t, f, killed, spec.JobFailed); !strings.Contains(j.Message, "signal 9 (killed)") || *j.ExitCode != -9 {
		t.Errorf("signal: %+v", j)
	}
	for _, e := range []wire.DriverExited{{Signal: 9, OutOfMemory: true}, {ExitCode: 137, OutOfMemory: true}} {
		e.SubmissionID = submit(t, url, `{"entrypoint": "x"}`)
		status(t, f, e.SubmissionID, spec.JobRunning)
		s.Exited(e)
		if j = status(t, f, e.SubmissionID, spec.JobFailed); !strings.Contains(j.Message, "want of memory") {
			t.Errorf("out of memory: %+v", j)
		}
	}
	lost := submit(t, url, `{"entrypoint": "x"}`)
	status(t, f, lost, spec.JobRunning)
	s.NodeGone(f.node, "unplugged")
	if j = status(t, f, lost, spec.JobFailed); !strings.Contains(j.Message, "unplugged") || j.ErrorType != errDied {
		t.Errorf("node gone: %+v", j)
	}
	f.do(func() { f.refuse = &spec.ErrorInfo{Type: "RuntimeEnvSetupError", Message: "no such package"} })
	env := submit(t, url, `{"entrypoint": "x"}`)
	if j = status(t, f, env, spec.JobFailed); j.ErrorType != errRuntimeEnv || !strings.Contains(j.Message, "no such package") {
		t.Errorf("environment: %+v", j)
	}
	f.do(func() { f.refuse = errors.New("no shell") })
	shell := submit(t, url, `{"entrypoint": "x"}`)
	if j = status(t, f, shell, spec.JobFailed); j.ErrorType != errStart {
		t.Errorf("start: %+v", j)
	}
}

// TestShortJob ends before the answer to its start has come: its node, where
// its output is, is known all the same.
func TestShortJob(t *testing.T) {
	f, s, url := setup(t)
	f.do(func() {
		f.started = func(id string) {
			begun := make(chan struct{})
			go func() {
				close(begun)
				s.Exited(wire.DriverExited{SubmissionID: id})
			}()
			<-begun // the answer to the start comes after it
		}
	})
	id := submit(t, url, `{"entrypoint": "x"}`)
	if j := status(t, f, id, spec.JobSucceeded); j.NodeID != f.node {
		t.Errorf("node %s", j.NodeID)
	}
}

// TestBusyNode tries again where the resources were taken in between.
func TestBusyNode(t *testing.T) {
	f, _, url := setup(t)
	f.do(func() { f.refuse = &spec.ErrorInfo{Type: wire.ErrNodeBusy, Message: "taken"} })
	id := submit(t, url, `{"entrypoint": "x", "entrypoint_num_cpus": 1}`)
	status(t, f, id, spec.JobPending)
	f.do(func() { f.refuse = nil })
	status(t, f, id, spec.JobRunning)
	f.do(func() {
		if len(f.runs) != 1 || f.runs[0].Resources[spec.CPU] != spec.FixedScale {
			t.Errorf("runs %+v", f.runs)
		}
	})
}

func TestTheNextHeadStartsWhatWaitedOnANodeThatFits(t *testing.T) {
	f, first, url := setup(t)
	f.do(func() { f.node = spec.NodeID{} })
	id := submit(t, url, `{"entrypoint": "x", "entrypoint_num_cpus": 2, "entrypoint_label_selector": {"zone": "a"}, "metadata": {"k": "v"}}`)
	status(t, f, id, spec.JobPending)
	first.Close()
	f.do(func() { f.node = spec.NodeID{1} })
	next := New(f, slog.New(slog.DiscardHandler))
	defer next.Close()
	next.Resume()
	status(t, f, id, spec.JobRunning)
	f.do(func() {
		if len(f.runs) != 1 || f.runs[0].Resources[spec.CPU] != 2*spec.FixedScale || f.labels["zone"] != "a" {
			t.Errorf("runs %+v, labels %v", f.runs, f.labels)
		}
	})
}

func TestStop(t *testing.T) {
	f, s, url := setup(t)
	var reply struct{ Stopped bool }
	waiting := submit(t, url, `{"entrypoint": "x", "entrypoint_num_gpus": 1}`)
	eventually(t, "the reason", func() bool {
		j, _ := f.Job(waiting)
		return strings.Contains(j.Message, "no node has what it needs")
	})
	call(t, "POST", url+"/api/jobs/"+waiting+"/stop", "", &reply)
	if j, _ := f.Job(waiting); !reply.Stopped || j.Status != spec.JobStopped || j.Message != gcs.JobStoppedMessage {
		t.Errorf("a waiting job stops at once: %v %+v", reply, j)
	}
	running := submit(t, url, `{"entrypoint": "x"}`)
	status(t, f, running, spec.JobRunning)
	call(t, "POST", url+"/api/jobs/"+running+"/stop", "", &reply)
	eventually(t, "the node is told", func() (told bool) {
		f.do(func() {
			for _, st := range f.stops {
				told = told || st.SubmissionID == running && st.GraceMS == 3000
			}
		})
		return told
	})
	s.Exited(wire.DriverExited{SubmissionID: running, Signal: 15})
	status(t, f, running, spec.JobStopped)
	call(t, "POST", url+"/api/jobs/"+running+"/stop", "", &reply)
	if reply.Stopped {
		t.Error("a job that has ended was stopped")
	}
}

// TestStopWhileItStarts: the node that has the order is asked, not the one that
// would be picked now, and a process that came of it all the same is ended.
func TestStopWhileItStarts(t *testing.T) {
	f, _, url := setup(t)
	first, arrived, answer := f.node, make(chan struct{}), make(chan struct{})
	f.do(func() {
		f.started = func(string) {
			close(arrived)
			f.mu.Unlock() // the node works; others are not kept waiting
			<-answer
			f.mu.Lock()
		}
	})
	id := submit(t, url, `{"entrypoint": "x"}`)
	<-arrived
	f.do(func() { f.node = spec.NodeID{2} })
	var reply struct{ Stopped bool }
	call(t, "POST", url+"/api/jobs/"+id+"/stop", "", &reply)
	if j, _ := f.Job(id); !reply.Stopped || j.Status != spec.JobStopped || j.NodeID != first {
		t.Errorf("%v %+v", reply, j)
	}
	told := func(n int) func() bool {
		return func() (ok bool) {
			f.do(func() { ok = len(f.stops) == n && f.stopsAt[n-1] == first })
			return
		}
	}
	eventually(t, "the first node is told to stop it", told(1))
	close(answer)
	eventually(t, "it is told again once it has answered", told(2))
	if j, _ := f.Job(id); j.Status != spec.JobStopped {
		t.Errorf("%+v", j)
	}
}

func TestTooLarge(t *testing.T) {
	f, _, url := setup(t)
	big := `{"entrypoint": "` + strings.Repeat("x", maxRequest) + `"}`
	if code, text := call(t, "POST", url+"/api/jobs/", big, nil); code != 413 || !strings.Contains(text, "larger than 16 MiB") {
		t.Errorf("with its length told: %d %s", code, text)
	}
	resp, err := http.Post(url+"/api/jobs/", "application/json", io.MultiReader(strings.NewReader(big))) // chunked
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 413 || len(f.Jobs()) != 0 {
		t.Errorf("chunked: %d, jobs %v", resp.StatusCode, f.Jobs())
	}
}

func TestBadRequests(t *testing.T) {
	f, _, url := setup(t)
	submit(t, url, `{"entrypoint": "x", "submission_id": "taken"}`)
	var id spec.JobID
	f.do(func() { id, _ = f.tables.StartJob(spec.Job{}, 1) })
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/api/jobs/", `{"entrypoint": "x", "submission_id": "taken"}`, 400, "already exists"},
		{"POST", "/api/jobs/", `{"entrypoint": "x", "job_id": "taken"}`, 400, "already exists"},
		{"POST", "/api/jobs/", `{"entrypoint": 5}`, 400, "entrypoint must be string"},
		{"POST", "/api/jobs/", `{}`, 400, "entrypoint is missing"},
		{"POST", "/api/jobs/", `{"entrypoint": "x", "entrypoint_num_cpu": 1}`, 400, "unexpected keyword argument 'entrypoint_num_cpu'"},
		{"POST", "/api/jobs/", `{"entrypoint": "x", "metadata": {"a": 1}}`, 400, "metadata"},
		{"POST", "/api/jobs/", `{"entrypoint": "x", "runtime_env": []}`, 400, "runtime_env must be an object"},
		{"POST", "/api/jobs/", `{"entrypoint": "x", "submission_id": "../up"}`, 400, "slashes"},
		{"POST", "/api/jobs/", `not json`, 400, "no JSON"},
		{"GET", "/api/jobs/none", ``, 404, "Job none does not exist"},
		{"GET", "/api/jobs/none/logs/tail", ``, 404, "does not exist"},
		{"POST", "/api/jobs/" + id.String() + "/stop", ``, 400, "Can only stop submission type jobs"},
		{"GET", "/api/packages/gcs/_ray_pkg_1.zip", ``, 404, "does not exist"},
	} {
		if code, text := call(t, c.method, url+c.path, c.body, nil); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, code, text)
		}
	}
	call(t, "PUT", url+"/api/packages/gcs/_ray_pkg_1.zip", "bytes", nil)
	if code, _ := call(t, "GET", url+"/api/packages/gcs/_ray_pkg_1.zip", "", nil); code != 200 || string(f.packages["gcs://_ray_pkg_1.zip"]) != "bytes" {
		t.Errorf("upload: %d %q", code, f.packages)
	}
	var rows []map[string]any
	call(t, "GET", url+"/api/jobs/", "", &rows)
	if len(rows) != 2 || rows[0]["type"] != "SUBMISSION" || rows[1]["type"] != "DRIVER" {
		t.Errorf("list %v", rows)
	}
	var version map[string]string
	if call(t, "GET", url+"/api/version", "", &version); version["ray_version"] != Compatible || version["version"] != "4" {
		t.Errorf("version %v", version)
	}
}

// TestRejoin is a head that starts again while jobs run.
func TestRejoin(t *testing.T) {
	f, s, _ := setup(t)
	for _, id := range []string{"runs", "waits"} {
		if err := f.SubmitJob(spec.Job{SubmissionID: id, Entrypoint: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	s.Rejoined(f.node, []wire.DriverStarted{{SubmissionID: "runs", PID: 5}})
	if j, _ := f.Job("runs"); j.Status != spec.JobRunning || j.NodeID != f.node {
		t.Errorf("job %+v", j)
	}
	if j, _ := f.Job("waits"); j.Status != spec.JobPending {
		t.Errorf("job %+v", j)
	}
}

func TestSplitUTF8(t *testing.T) {
	for _, c := range []struct{ in, text, rest string }{
		{"abc", "abc", ""}, {"a\xc3", "a", "\xc3"}, {"a\xe2\x82", "a", "\xe2\x82"}, {"\xff\xfe", "\uFFFD", ""}, {"", "", ""},
		{"ä", "ä", ""}, {"x\xf0\x9f\x98\x80", "x😀", ""},
	} {
		if text, rest := splitUTF8([]byte(c.in)); string(text) != c.text || string(rest) != c.rest {
			t.Errorf("%q: %q %q", c.in, text, rest)
		}
	}
}

// A client that asks for offsets goes on where its connection broke.
func TestTailFromAnOffset(t *testing.T) {
	f, s, url := setup(t)
	id, err := s.Submit(Request{Entrypoint: "x"})
	if err != nil {
		t.Fatal(err)
	}
	f.print(id, "first\nsec\xc3")
	read := func(offset string, count int) (messages []string) {
		t.Helper()
		conn, _, err := websocket.Dial(t.Context(), url+"/api/jobs/"+id+"/logs/tail?"+wire.JobOffsetQuery+"="+offset, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.CloseNow() }()
		for range count {
			kind, text, err := conn.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, fmt.Sprintf("%s %s", kind, text))
		}
		return messages
	}
	if got := read("0", 2); got[0] != "MessageText first\nsec" || got[1] != "MessageBinary 9" {
		t.Fatalf("%q", got)
	}
	f.print(id, "\xa9ond\n")
	if got := read("9", 2); got[0] != "MessageText éond\n" || got[1] != "MessageBinary 15" {
		t.Fatalf("%q", got)
	}
	if got := read("x", 1); got[0] != "MessageText first\nsecéond\n" {
		t.Fatalf("%q", got)
	}
	s.Exited(wire.DriverExited{SubmissionID: id})
}

// A node may not be connected, and another head may take over, before the
// order to stop has reached it.
func TestStopReachesItsNodeInTheEnd(t *testing.T) {
	f, s, _ := setup(t)
	id, err := s.Submit(Request{Entrypoint: "x"})
	if err != nil {
		t.Fatal(err)
	}
	status := func() (j spec.Job) { j, _ = f.Job(id); return j }
	await := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	await("it runs", func() bool { return status().Status == spec.JobRunning })
	f.do(func() { f.refuse = errors.New("not connected") })
	if ok, err := s.Stop(id); !ok || err != nil {
		t.Fatal(ok, err)
	}
	f.do(func() { f.refuse = nil })
	stops := func() (n int) { f.do(func() { n = len(f.stops) }); return n }
	await("the order to stop", func() bool { return stops() == 1 })

	next := New(f, slog.New(slog.DiscardHandler)) // the head after it
	defer next.Close()
	next.Rejoined(f.node, []wire.DriverStarted{{SubmissionID: id, PID: 77}})
	await("the order of the next head", func() bool { return stops() == 2 })
	next.Exited(wire.DriverExited{SubmissionID: id, Signal: 9})
	if got := status(); got.Status != spec.JobStopped {
		t.Fatalf("%+v", got)
	}
}
