package testbed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"ray/internal/testbed/fault"
	"ray/providers"
)

// callFaults has calls of Compute Engine fail as they are made. Their actions
// are named as in Google's own documents: instances.aggregatedList,
// instances.insert, instances.delete. They have the parameters cluster and
// machineType. A fault of the action insert is not one of these: the call is
// made, and the operation fails.
type callFaults struct {
	faults *fault.List
	next   http.Handler
}

var reCluster = regexp.MustCompile(regexp.QuoteMeta(providers.TagCluster) + ` = ([a-z0-9-]+)`)

func (c callFaults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f := c.faults.Take(actionOf(r), func(key string) string { return parameter(r, body, key) })
	if f == nil {
		c.next.ServeHTTP(w, r)
		return
	}
	select {
	case <-time.After(time.Duration(f.Seconds * float64(time.Second))):
	case <-r.Context().Done():
	}
	switch {
	case f.Lost:
		c.next.ServeHTTP(nowhere{http.Header{}}, r)
		panic(http.ErrAbortHandler) // closes the connection
	case f.Code == "":
		c.next.ServeHTTP(w, r)
	default:
		status := cmp.Or(f.Status, http.StatusForbidden)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
			"code": status, "message": f.Message, "errors": []any{map[string]any{"reason": f.Code, "message": f.Message}},
		}})
	}
}

func actionOf(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/aggregated/instances"):
		return "instances.aggregatedList"
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/instances"):
		return "instances.insert"
	case r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/instances/"):
		return "instances.delete"
	}
	return ""
}

func parameter(r *http.Request, body []byte, key string) string {
	var made struct {
		MachineType string            `json:"machineType"`
		Labels      map[string]string `json:"labels"`
	}
	_ = json.Unmarshal(body, &made) // of another call it stays empty
	switch key {
	case "machineType":
		return lastPart(made.MachineType)
	case "cluster":
		if m := reCluster.FindStringSubmatch(r.URL.Query().Get("filter")); m != nil {
			return m[1]
		}
		return made.Labels[providers.TagCluster]
	}
	return ""
}

// nowhere is the answer of a call whose caller never sees it.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}
