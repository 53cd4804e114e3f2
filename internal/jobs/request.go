package jobs

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"ray/internal/spec"
)

// Request is the body of POST /api/jobs/.
type Request struct {
	Entrypoint    string             `json:"entrypoint"`
	SubmissionID  string             `json:"submission_id"`
	JobID         string             `json:"job_id"` // the old name of SubmissionID
	RuntimeEnv    json.RawMessage    `json:"runtime_env"`
	Metadata      map[string]string  `json:"metadata"`
	NumCPUs       float64            `json:"entrypoint_num_cpus"`
	NumGPUs       float64            `json:"entrypoint_num_gpus"`
	Memory        float64            `json:"entrypoint_memory"`
	Resources     map[string]float64 `json:"entrypoint_resources"`
	LabelSelector map[string]string  `json:"entrypoint_label_selector"`
}

// parseRequest reads and checks a body.
func parseRequest(body []byte) (r Request, err error) {
	if err := json.Unmarshal(body, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return r, fmt.Errorf("TypeError: %s must be %s, got %s", wrong.Field, wrong.Type, wrong.Value)
		}
		return r, fmt.Errorf("ValueError: the body is no JSON object: %w", err)
	}
	if name := unknownField(body); name != "" {
		return r, fmt.Errorf("TypeError: JobSubmitRequest.__init__() got an unexpected keyword argument '%s'", name)
	}
	if r.SubmissionID == "" {
		r.SubmissionID = r.JobID
	}
	if string(r.RuntimeEnv) == "null" {
		r.RuntimeEnv = nil
	}
	var env map[string]any
	switch {
	case strings.TrimSpace(r.Entrypoint) == "":
		return r, errors.New("ValueError: entrypoint is missing: give the command to run")
	case len(r.RuntimeEnv) > 0 && json.Unmarshal(r.RuntimeEnv, &env) != nil:
		return r, errors.New("TypeError: runtime_env must be an object")
	case strings.ContainsAny(r.SubmissionID, "/\\\x00\n") || r.SubmissionID == "." || r.SubmissionID == "..":
		return r, errors.New("ValueError: submission_id may not contain slashes or line ends, because it names a log file")
	case r.NumCPUs < 0 || r.NumGPUs < 0 || r.Memory < 0:
		return r, errors.New("ValueError: entrypoint resources must not be negative")
	}
	return r, nil
}

// unknownField names a field that a request does not have: a mistyped one must
// not pass as one that was left out.
func unknownField(body []byte) string {
	var given map[string]json.RawMessage
	if json.Unmarshal(body, &given) != nil {
		return ""
	}
	t := reflect.TypeFor[Request]()
	for i := range t.NumField() {
		delete(given, t.Field(i).Tag.Get("json"))
	}
	names := slices.Sorted(maps.Keys(given))
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// need is what the entrypoint's node must have.
func (r *Request) need() spec.Resources {
	m := maps.Clone(r.Resources)
	if m == nil {
		m = map[string]float64{}
	}
	m[spec.CPU] += r.NumCPUs
	m[spec.GPU] += r.NumGPUs
	m[spec.Memory] += r.Memory
	return spec.FromFloats(m)
}

// driverEnv is what the entrypoint finds in its environment, besides the
// runtime environment's own variables.
func (s *Service) driverEnv(id string, req Request) map[string]string {
	metadata := map[string]string{"job_submission_id": id, "job_name": id}
	maps.Copy(metadata, req.Metadata)
	metadata["job_submission_id"] = id
	env := req.RuntimeEnv
	if len(env) == 0 {
		env = json.RawMessage("{}")
	}
	config, err := json.Marshal(map[string]any{"runtime_env": env, "metadata": metadata})
	if err != nil {
		config = []byte("{}") // the runtime environment was checked to be JSON
	}
	return map[string]string{
		"RAY_JOB_CONFIG_JSON_ENV_VAR": string(config), "RAY_ADDRESS": s.cluster.Address(), "RAY_JOB_SUBMISSION_ID": id,
	}
}

const idLetters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ123456789" // none that look alike

// NewID makes a submission id.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = idLetters[int(b[i])%len(idLetters)]
	}
	return "raysubmit_" + string(b[:])
}

// Details is a job in the columns of the job API.
func Details(j spec.Job) map[string]any {
	orNil := func(v string, zero bool) any {
		if zero {
			return nil
		}
		return v
	}
	row := map[string]any{
		"type": j.Type, "job_id": orNil(j.JobID.String(), j.JobID.IsZero()), "submission_id": orNil(j.SubmissionID, j.SubmissionID == ""),
		"driver_info": nil, "status": j.Status, "entrypoint": j.Entrypoint, "message": j.Message,
		"error_type": orNil(j.ErrorType, j.ErrorType == ""), "start_time": j.StartMS, "end_time": nil,
		"metadata": maps.Clone(j.Metadata), "runtime_env": map[string]any{}, "driver_agent_http_address": nil,
		"driver_node_id": orNil(j.NodeID.String(), j.NodeID.IsZero()), "driver_exit_code": nil,
	}
	if j.Metadata == nil {
		row["metadata"] = map[string]string{}
	}
	if len(j.RuntimeEnv) > 0 {
		row["runtime_env"] = j.RuntimeEnv
	}
	if j.EndMS > 0 {
		row["end_time"] = j.EndMS
	}
	if j.ExitCode != nil {
		row["driver_exit_code"] = *j.ExitCode
	}
	if !j.JobID.IsZero() {
		row["driver_info"] = map[string]any{"id": j.JobID.String(), "node_ip_address": j.DriverIP, "pid": fmt.Sprint(j.DriverPID)}
	}
	return row
}
