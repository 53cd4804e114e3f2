package node

import (
	"fmt"
	"path/filepath"
	"strings"
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

// ofEnv tells whether an interpreter is one that a runtime environment has
// brought, as that of a submitted job's driver is.
func (d *daemon) ofEnv(python string) bool {
	return strings.HasPrefix(python, filepath.Join(d.cfg.SessionDir, envDir)+string(filepath.Separator))
}

// Timings of runtime environments: envPatience is how long an environment may take before the drivers whose
// tasks wait for it are told, and how often they are told of progress.
const (
	envDir      = "runtime_resources" // in the session's directory
	idleServer  = 5 * time.Minute     // how long a fork server of an environment stays without workers
	envPatience = 3 * time.Second
	envNews     = 10 * time.Second
)

// tendEnvs ends fork servers that are not needed any more, and tells drivers
// why their tasks do not begin: their environment is still being made here.
func (d *daemon) tendEnvs(now time.Time) {
	d.procs.RetireIdle(filepath.Join(d.cfg.SessionDir, envDir), idleServer)
	for id, j := range d.jobs {
		if j.dead || now.Sub(j.envTold) < envNews {
			continue
		}
		line, since := d.envMaker.Progress(id.String())
		if line == "" || now.Sub(since) < envPatience {
			continue
		}
		j.envTold = now
		text := fmt.Sprintf("Tasks wait for their runtime environment, which has been in the making on %s for %d s: %s", d.cfg.NodeIP, int(now.Sub(since).Seconds()), line)
		d.warn(id, text)
	}
}
