package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
)

// Compatible is the version of upstream that this system stands in for.
const Compatible = "2.60.0"

const (
	maxPackage = 512 << 20 // the largest package that may be uploaded, as upstream's
	maxRequest = 16 << 20  // the largest description of a job

	// What is too large is still read so far and so long, and dropped: a client
	// that only reads answers once it has sent everything sees ours.
	drainBytes = 2 << 30
	drainTime  = 10 * time.Second
)

// Register adds the Job REST API to a mux.
func (s *Service) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/version", s.version)
	mux.HandleFunc("GET /api/packages/{protocol}/{name}", s.getPackage)
	mux.HandleFunc("PUT /api/packages/{protocol}/{name}", s.putPackage)
	mux.HandleFunc("POST /api/jobs/", s.submit)
	mux.HandleFunc("POST /api/jobs", s.submit)
	mux.HandleFunc("GET /api/jobs/{$}", s.list)
	mux.HandleFunc("GET /api/jobs", s.list)
	mux.HandleFunc("GET /api/jobs/{id}", s.info)
	mux.HandleFunc("DELETE /api/jobs/{id}", s.delete)
	mux.HandleFunc("POST /api/jobs/{id}/stop", s.stop)
	mux.HandleFunc("GET /api/jobs/{id}/logs", s.logs)
	mux.HandleFunc("GET /api/jobs/{id}/logs/tail", s.tail)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}

func fail(w http.ResponseWriter, code int, format string, args ...any) {
	http.Error(w, fmt.Sprintf(format, args...), code)
}

func (s *Service) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]string{"version": "4", "ray_version": Compatible, "ray_commit": "", "session_name": s.cluster.SessionName()})
}

func packageURI(r *http.Request) string { return r.PathValue("protocol") + "://" + r.PathValue("name") }

func (s *Service) getPackage(w http.ResponseWriter, r *http.Request) {
	uri := packageURI(r)
	there, err := s.cluster.HasPackage(uri)
	switch {
	case err != nil:
		fail(w, http.StatusInternalServerError, "%v", err)
	case !there:
		fail(w, http.StatusNotFound, "Package %s does not exist", uri)
	}
}

func (s *Service) putPackage(w http.ResponseWriter, r *http.Request) {
	data, err := readBody(w, r, maxPackage)
	if tooBig := new(http.MaxBytesError); errors.As(err, &tooBig) {
		fail(w, http.StatusRequestEntityTooLarge, "package %s is larger than %d MiB: leave files out with excludes", packageURI(r), maxPackage>>20)
		return
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "package %s did not arrive whole: %v", packageURI(r), err)
		return
	}
	if err := s.cluster.PutPackage(packageURI(r), data); err != nil {
		fail(w, http.StatusInternalServerError, "%v", err)
	}
}

// readBody reads a request's body. Of one over the limit nothing is kept, and
// the error is an http.MaxBytesError.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body := r.Body
	var data []byte
	var err error = &http.MaxBytesError{Limit: limit}
	if r.ContentLength <= limit {
		data, err = io.ReadAll(http.MaxBytesReader(w, body, limit))
	}
	if !errors.As(err, new(*http.MaxBytesError)) {
		return data, err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime)) // a test's recorder has none
	_, _ = io.CopyN(io.Discard, body, drainBytes)                                // the answer is the same if the client is gone
	w.Header().Set("Connection", "close")
	return nil, err
}

func (s *Service) submit(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r, maxRequest)
	if tooBig := new(http.MaxBytesError); errors.As(err, &tooBig) {
		fail(w, http.StatusRequestEntityTooLarge, "the request to submit a job is larger than %d MiB: send files with runtime_env's working_dir instead", maxRequest>>20)
		return
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "the request did not arrive whole: %v", err)
		return
	}
	req, err := parseRequest(body)
	if err != nil {
		fail(w, http.StatusBadRequest, "%v", err)
		return
	}
	id, err := s.Submit(req)
	if err != nil {
		code := http.StatusInternalServerError
		if _, taken := s.cluster.Job(req.SubmissionID); taken && req.SubmissionID != "" {
			code = http.StatusBadRequest
		}
		fail(w, code, "ValueError: %v", err)
		return
	}
	writeJSON(w, map[string]string{"job_id": id, "submission_id": id})
}

func (s *Service) list(w http.ResponseWriter, _ *http.Request) {
	rows := []map[string]any{}
	for _, j := range s.cluster.Jobs() {
		rows = append(rows, Details(j))
	}
	writeJSON(w, rows)
}

// find answers 404 itself, and 400 for a job that is no submission if it must be one.
func (s *Service) find(w http.ResponseWriter, r *http.Request, verb string) (spec.Job, bool) {
	id := r.PathValue("id")
	j, ok := s.cluster.Job(id)
	if !ok {
		fail(w, http.StatusNotFound, "Job %s does not exist", id)
		return j, false
	}
	if verb != "" && j.Type != gcs.JobSubmission {
		fail(w, http.StatusBadRequest, "Can only %s submission type jobs", verb)
		return j, false
	}
	return j, true
}

func (s *Service) info(w http.ResponseWriter, r *http.Request) {
	if j, ok := s.find(w, r, ""); ok {
		writeJSON(w, Details(j))
	}
}

func (s *Service) stop(w http.ResponseWriter, r *http.Request) {
	j, ok := s.find(w, r, "stop")
	if !ok {
		return
	}
	stopped, err := s.Stop(j.SubmissionID)
	if err != nil {
		fail(w, http.StatusInternalServerError, "%v", err)
		return
	}
	writeJSON(w, map[string]bool{"stopped": stopped})
}

func (s *Service) delete(w http.ResponseWriter, r *http.Request) {
	j, ok := s.find(w, r, "delete")
	if !ok {
		return
	}
	if !gcs.Terminal(j.Status) {
		fail(w, http.StatusInternalServerError, "Attempted to delete job '%s', but it is in a non-terminal state %s: stop it first", j.SubmissionID, j.Status)
		return
	}
	s.forget(r.Context(), j)
	if err := s.cluster.DeleteJob(j.SubmissionID); err != nil {
		fail(w, http.StatusInternalServerError, "%v", err)
		return
	}
	writeJSON(w, map[string]bool{"deleted": true})
}

func (s *Service) logs(w http.ResponseWriter, r *http.Request) {
	j, ok := s.find(w, r, "get logs of")
	if !ok {
		return
	}
	text, err := s.Logs(r.Context(), j)
	if err != nil {
		fail(w, http.StatusInternalServerError, "%v", err)
		return
	}
	writeJSON(w, map[string]string{"logs": text})
}
