package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"ray/internal/session"
)

// TestPortService asks a service about a node whose only process is this one.
func TestPortService(t *testing.T) {
	var asked struct {
		Ports []int `json:"ports"`
	}
	answer := `{"open_ports": [], "checked_ports": [1, 2]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("X-Ray-Open-Port-Check") == "" {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	self, err := session.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	node := session.Announcement{Process: self, NodeID: "ab", SessionDir: t.TempDir()}
	report := func() string {
		var out bytes.Buffer
		if err := (portService{server.URL}).report(t.Context(), &out, []session.Announcement{node}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	port := server.Listener.Addr().(*net.TCPAddr).Port
	if got := report(); !strings.Contains(got, "[🟢] No open ports detected checked_ports=[1, 2] node='ab'") {
		t.Error(got)
	}
	if !slices.Contains(asked.Ports, port) {
		t.Errorf("asked about %v, this process listens on %d", asked.Ports, port)
	}
	answer = `{"open_ports": [6379], "checked_ports": [6379]}`
	if got := report(); !strings.Contains(got, "[🛑] open ports detected open_ports=[6379] node='ab'") || !strings.Contains(got, "firewall") {
		t.Error(got)
	}
	answer = "<html>"
	if err := (portService{server.URL}).report(t.Context(), new(bytes.Buffer), []session.Announcement{node}); err == nil || !strings.Contains(err.Error(), "did not answer in JSON") {
		t.Error(err)
	}
}
