package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ray/internal/spec"
	"ray/internal/statustext"
)

// fakeDashboard answers as a head does.
func fakeDashboard(t *testing.T, handler http.HandlerFunc) *dashboard {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return newDashboard(statusTarget{url: server.URL, token: "secret"})
}

func serveStatus(t *testing.T) *dashboard {
	return fakeDashboard(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path != "/api/v1/status" {
			t.Errorf("asked for %s", r.URL)
		}
		_ = json.NewEncoder(w).Encode(spec.Status{ClusterName: "demo", TimeMS: 1000, Demands: []spec.Demand{{Resources: spec.Resources{"CPU": 10000}, Count: 2}}})
	})
}

func TestStatusPrintsTextOrJSON(t *testing.T) {
	for _, c := range []struct {
		options statusOptions
		want    []string
	}{
		{statusOptions{}, []string{"======== Autoscaler status: ", "{'CPU': 1.0}: 2+ pending tasks/actors"}},
		{statusOptions{verbose: true}, []string{"GCS request time: ", "Age of the data: "}},
		{statusOptions{asJSON: true}, []string{`"cluster_name": "demo"`, `"CPU": 1`}},
	} {
		var out bytes.Buffer
		if err := printStatus(t.Context(), serveStatus(t), &out, &c.options); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%+v: no %q in:\n%s", c.options, want, out.String())
			}
		}
	}
}

func TestStatusBeforeThereIsOne(t *testing.T) {
	d := fakeDashboard(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	var out bytes.Buffer
	if err := printStatus(t.Context(), d, &out, &statusOptions{}); err != nil || strings.TrimSpace(out.String()) != statustext.NoStatus {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestStatusErrorsSayWhatToDo(t *testing.T) {
	refused := serveStatus(t)
	refused.target.token = "wrong"
	if _, err := refused.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "RAY_AUTH_TOKEN") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong token: %v", err)
	}
	other := fakeDashboard(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	if _, err := other.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "something else than a status") {
		t.Errorf("another server: %v", err)
	}
	server := httptest.NewServer(nil)
	server.Close()
	if _, err := newDashboard(statusTarget{url: server.URL}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("no server: %v", err)
	}
}

func TestLogsTakeTheFirstFileWithLines(t *testing.T) {
	d := fakeDashboard(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch q.Get("filename") {
		case "raylet.out":
			_, _ = w.Write([]byte("one\ntwo\nthree\n"))
		case "raylet.err":
			if q.Get("node_id") == (spec.NodeID{1}).String() {
				w.WriteHeader(http.StatusNotFound)
			}
		}
	})
	for _, id := range []spec.NodeID{{1}, {2}} {
		lines, err := d.Logs(t.Context(), id, 2)
		if err != nil || strings.Join(lines, ",") != "two,three" {
			t.Errorf("%v, %v", lines, err)
		}
	}
}

func TestStatusTargets(t *testing.T) {
	t.Setenv("RAY_AUTH_TOKEN", strings.Repeat("0f", 32))
	t.Setenv("RAY_ADDRESS", "")
	t.Setenv("RAY_TMPDIR", t.TempDir())
	old := clusterTarget
	t.Cleanup(func() { clusterTarget = old })
	clusterTarget = func(_ context.Context, file string) (statusTarget, func(), bool, error) {
		if file == "bad.yaml" {
			return statusTarget{}, nil, false, errors.New("no such file")
		}
		return statusTarget{url: "http://launched/" + file}, nil, true, nil
	}
	for _, c := range []struct{ file, address, want string }{
		{"", "", "http://launched/"}, {"c.yaml", "", "http://launched/c.yaml"}, {"", "http://h:8265/", "http://h:8265"},
	} {
		target, done, err := findTarget(t.Context(), c.file, c.address)
		if err != nil || target.url != c.want {
			t.Errorf("%+v: %+v, %v", c, target, err)
		}
		done()
	}
	for _, c := range []struct{ file, address, want string }{
		{"bad.yaml", "", "no such file"}, {"c.yaml", "h:1", "not both"},
	} {
		if _, _, err := findTarget(t.Context(), c.file, c.address); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestStatusOfAHeadFarAway is asked of the head itself: there is no daemon here
// that knows the dashboard.
func TestStatusOfAHeadFarAway(t *testing.T) {
	token := strings.Repeat("0f", 32)
	t.Setenv("RAY_AUTH_MODE", "")
	t.Setenv("RAY_AUTH_TOKEN", token)
	t.Setenv("RAY_ADDRESS", "")
	t.Setenv("RAY_TMPDIR", t.TempDir())
	target, done, err := findTarget(t.Context(), "", "192.0.2.1:6379")
	if err != nil || target.url != "" || target.head != "192.0.2.1:6379" || target.auth.Token != token {
		t.Fatalf("%+v, %v", target, err)
	}
	done()
	if _, err := newDashboard(target).Logs(t.Context(), spec.NodeID{1}, 2); err == nil || !strings.Contains(err.Error(), "--include-dashboard=true") {
		t.Errorf("logs: %v", err)
	}
}

func TestAutoscalerPlanReadsAndPrints(t *testing.T) {
	request := `{"node_types": {"cpu": {"resources": {"CPU": 4}, "min_workers": 0, "max_workers": 10, "price": 0.5}}, "max_workers": 10,
		"demands": [[{"CPU": 1.0}, 9], [{"GPU": 1}, 2]]}`
	var out bytes.Buffer
	if err := runAutoscalerPlan(strings.NewReader(request), &out, "-", true); err != nil {
		t.Fatal(err)
	}
	var answer planAnswer
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.ToLaunch["cpu"] != 3 || answer.Infeasible != 2 || answer.Price != 1.5 || answer.Seconds <= 0 {
		t.Errorf("%+v", answer)
	}
	out.Reset()
	if err := runAutoscalerPlan(strings.NewReader(request), &out, "-", false); err != nil || !strings.Contains(out.String(), "launch 3 of cpu") {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := runAutoscalerPlan(strings.NewReader(`{"demands": [[1]]}`), &out, "-", false); err == nil || !strings.Contains(err.Error(), "a demand is") {
		t.Errorf("bad request: %v", err)
	}
}
