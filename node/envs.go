package node

import (
	"fmt"
	"time"

	"ray/node/runtimeenv"
)

// envRows lists the runtime environments of this node for the state API.
func (d *daemon) envRows(add func(map[string]any)) {
	for _, r := range d.envMaker.Rows() {
		row := map[string]any{"runtime_env": r.Title, "success": nil, "creation_time_ms": r.MadeMS, "node_id": d.self, "ref_cnt": r.Uses, "error": nil,
			"state": r.State, "size_bytes": r.Bytes}
		switch r.State {
		case runtimeenv.Ready:
			row["success"] = true
		case runtimeenv.Failed:
			row["success"], row["error"] = false, r.Progress
		default:
			row["progress"] = r.Progress
		}
		add(row)
	}
}

// envPatience is how long an environment may take before the drivers whose
// tasks wait for it are told, and how often they are told of progress.
const (
	envPatience = 3 * time.Second
	envNews     = 10 * time.Second
)

// warnEnvs tells drivers why their tasks do not begin: their environment is
// still being made.
func (d *daemon) warnEnvs(now time.Time) {
	for key, wait := range d.envWaits {
		if now.Sub(wait.since) < envPatience || now.Sub(wait.told) < envNews {
			continue
		}
		line := d.envMaker.Progress(wait.holder)
		if line == "" || line == wait.line {
			continue
		}
		wait.told, wait.line = now, line
		d.warn(key.Job, fmt.Sprintf("Tasks wait for their runtime environment, which has been in the making for %d s: %s", int(now.Sub(wait.since).Seconds()), line))
	}
}

// envWait is the first worker of its kind that waits for its environment.
type envWait struct {
	holder      string
	since, told time.Time
	line        string
}
