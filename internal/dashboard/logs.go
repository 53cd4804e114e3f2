package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

const (
	followEvery  = 250 * time.Millisecond
	readTimeout  = 30 * time.Second
	defaultLines = 1000
)

// logKinds group file names for people; the first match wins.
var logKinds = []struct{ kind, pattern string }{
	{"worker_out", "worker-*.out"}, {"worker_err", "worker-*.err"}, {"driver", "job-driver-*"}, {"driver", "python-core-driver-*"},
	{"core_worker", "python-core-worker-*"}, {"raylet", "raylet*"}, {"raylet", "node*"}, {"gcs_server", "gcs_server*"},
	{"gcs_server", "head*"}, {"dashboard", "dashboard*"}, {"autoscaler", "monitor*"}, {"agent", "*agent*"},
}

func kindOf(name string) string {
	for _, k := range logKinds {
		if ok, _ := path.Match(k.pattern, path.Base(name)); ok { // the patterns are well formed
			return k.kind
		}
	}
	return "internal"
}

// pickNode finds the node that a log call names; the head's if it names none.
func (s *Server) pickNode(r *http.Request) (spec.Node, error) {
	id, ip := r.URL.Query().Get("node_id"), r.URL.Query().Get("node_ip")
	nodes := s.o.Source.Nodes()
	at := slices.IndexFunc(nodes, func(n spec.Node) bool {
		switch {
		case n.State == spec.NodeDead:
			return false
		case id != "":
			return n.ID.String() == id
		case ip != "":
			return n.IP == ip
		}
		return true
	})
	if at < 0 {
		return spec.Node{}, fmt.Errorf("no living node has node_id %q, node_ip %q", id, ip)
	}
	return nodes[at], nil
}

func (s *Server) listLogs(w http.ResponseWriter, r *http.Request) {
	n, err := s.pickNode(r)
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	glob := r.URL.Query().Get("glob")
	if glob == "" {
		glob = "*"
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	var files []wire.LogFile
	if _, err := s.o.Source.CallNode(ctx, n.ID, wire.MethodLogList, wire.LogList{Glob: glob}, &files, nil); err != nil {
		refuse(w, http.StatusInternalServerError, fmt.Errorf("list the logs of node %s: %w", n.Name, err))
		return
	}
	kinds := map[string][]string{}
	for _, k := range logKinds {
		kinds[k.kind] = []string{}
	}
	kinds["internal"] = []string{}
	for _, f := range files {
		kinds[kindOf(f.Name)] = append(kinds[kindOf(f.Name)], f.Name)
	}
	answer(w, map[string]any{"result": kinds})
}

// target is a log file of a node.
type target struct {
	node spec.NodeID
	file string
}

// find turns the names that a log call may give into a file of a node.
func (s *Server) find(r *http.Request) (t target, err error) {
	v := r.URL.Query()
	suffix := v.Get("suffix")
	if suffix == "" {
		suffix = "out"
	}
	switch {
	case v.Get("actor_id") != "":
		return s.workerLog(r, "actors", "actor_id", v.Get("actor_id"), suffix)
	case v.Get("task_id") != "":
		return s.workerLog(r, "tasks", "task_id", v.Get("task_id"), suffix)
	case v.Get("submission_id") != "":
		return s.workerLog(r, "jobs", "submission_id", v.Get("submission_id"), "")
	}
	n, err := s.pickNode(r)
	if err != nil {
		return t, err
	}
	switch {
	case v.Get("filename") != "":
		return target{n.ID, v.Get("filename")}, nil
	case v.Get("pid") != "":
		return s.globLog(r, n.ID, fmt.Sprintf("worker-*-%s.%s", v.Get("pid"), suffix))
	}
	return t, errors.New("say which log: filename, actor_id, task_id, pid or submission_id")
}

// workerLog finds the log of the process behind a row of the state API.
func (s *Server) workerLog(r *http.Request, resource, key, id, suffix string) (t target, err error) {
	rows, _, err := s.o.Source.Rows(r.Context(), resource)
	if err != nil {
		return t, err
	}
	at := slices.IndexFunc(rows, func(row map[string]any) bool { return show(row[key]) == id })
	if at < 0 {
		return t, fmt.Errorf("there is no %s %s", key, id)
	}
	row := rows[at]
	nodeText, pid := show(row["node_id"]), show(row["pid"])
	if resource == "tasks" {
		pid = show(row["worker_pid"])
	}
	if resource == "jobs" {
		nodeText = show(row["driver_node_id"])
	}
	var node spec.NodeID
	if nodeText == "" || node.UnmarshalText([]byte(nodeText)) != nil {
		return t, fmt.Errorf("%s %s has not started anywhere yet: it has no log", key, id)
	}
	if resource == "jobs" {
		return target{node, "job-driver-" + id + ".log"}, nil
	}
	return s.globLog(r, node, fmt.Sprintf("worker-*-%s.%s", pid, suffix))
}

func (s *Server) globLog(r *http.Request, node spec.NodeID, glob string) (t target, err error) {
	var files []wire.LogFile
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	if _, err := s.o.Source.CallNode(ctx, node, wire.MethodLogList, wire.LogList{Glob: glob}, &files, nil); err != nil {
		return t, err
	}
	if len(files) == 0 {
		return t, fmt.Errorf("node %s has no log %s", short(node.String()), glob)
	}
	return target{node, files[len(files)-1].Name}, nil
}

// readLog sends a log file's last lines, and with media "stream" what is
// added, until the client goes away.
func (s *Server) readLog(w http.ResponseWriter, r *http.Request) {
	media := r.PathValue("media")
	if media != "file" && media != "stream" {
		http.NotFound(w, r)
		return
	}
	t, err := s.find(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	lines := defaultLines
	if n, err := strconv.Atoi(r.URL.Query().Get("lines")); err == nil {
		lines = n
	}
	if name := r.URL.Query().Get("download_filename"); name != "" {
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", strings.ReplaceAll(name, `"`, "")))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := s.copyLog(w, r, t, max(0, lines), media == "stream"); err != nil && r.Context().Err() == nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *Server) copyLog(w http.ResponseWriter, r *http.Request, t target, lines int, follow bool) error {
	flush := http.NewResponseController(w)
	req := wire.LogRead{File: t.file, Lines: lines}
	for {
		var chunk wire.LogChunk
		ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
		data, err := s.o.Source.CallNode(ctx, t.node, wire.MethodLogRead, req, &chunk, nil)
		cancel()
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return nil // the client has gone
		}
		_ = flush.Flush() // a writer that cannot flush sends later
		req = wire.LogRead{File: t.file, Offset: chunk.Next}
		if !chunk.EOF && len(data) > 0 {
			continue
		}
		if !follow {
			return nil
		}
		wait := time.NewTimer(followEvery)
		select {
		case <-r.Context().Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}
