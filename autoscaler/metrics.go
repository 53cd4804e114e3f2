package autoscaler

// Names of what is counted, upstream's without the prefix autoscaler_. The
// counts begin anew with each head.
const (
	countStarted      = "started_nodes"
	countStopped      = "stopped_nodes"
	countFailedCreate = "failed_create_nodes"
	countLaunchErrors = "node_launch_exceptions"
	countUpdated      = "successful_updates"
	countFailedUpdate = "failed_updates"
	countRecovered    = "successful_recoveries"
	countFailedAgain  = "failed_recoveries"
	countDrainErrors  = "drain_node_exceptions"
	countLoopErrors   = "update_loop_exceptions"
	countConfigErrors = "config_validation_exceptions"
	countResets       = "reset_exceptions" // nothing here can fail so
	countCreateTime   = "worker_create_node_time_seconds"
	countUpdateTime   = "worker_update_time_seconds"
	countRounds       = "update_time"
)

// counted are all of them: one that never happened is told as 0.
var counted = []string{
	countStarted, countStopped, countFailedCreate, countLaunchErrors, countUpdated, countFailedUpdate, countRecovered,
	countFailedAgain, countDrainErrors, countLoopErrors, countConfigErrors, countResets,
}

// Meter counts events and sums up durations, by name.
type Meter struct {
	Counts map[string]float64 `json:"counts"`
	// Sums are in seconds; Counts has how many there were.
	Sums map[string]float64 `json:"sums,omitempty"`
}

func newMeter() Meter {
	m := Meter{Counts: map[string]float64{}, Sums: map[string]float64{}}
	for _, name := range counted {
		m.Counts[name] = 0
	}
	for _, name := range []string{countCreateTime, countUpdateTime, countRounds} {
		m.took(name, 0)
		m.Counts[name] = 0
	}
	return m
}

func (m Meter) add(name string, n int) { m.Counts[name] += float64(n) }

func (m Meter) took(name string, seconds float64) {
	m.Counts[name]++
	m.Sums[name] += seconds
}

// clone is for a report, which shares nothing with the manager.
func (m Meter) clone() Meter {
	out := Meter{Counts: map[string]float64{}, Sums: map[string]float64{}}
	for k, v := range m.Counts {
		out.Counts[k] = v
	}
	for k, v := range m.Sums {
		out.Sums[k] = v
	}
	return out
}

// CountConfigError counts a cluster file that could not be used.
func (r *Reconciler) CountConfigError() { r.configErrors.Add(1) }
