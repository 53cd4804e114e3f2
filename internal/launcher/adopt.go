package launcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ray/internal/bootstrap"
	"ray/internal/sshx"
	"ray/providers"
)

// A head that upstream's launcher made keeps its machine: what upstream's
// runtime does there ends, if the user agrees, and this one starts in its place.

// madeByUpstream tells whether upstream's launcher tagged the machine.
func madeByUpstream(i *providers.Instance) bool {
	return i.Tags[providers.TagFileHash] == "" && i.Tags[providers.TagLaunchHash] != ""
}

// fits tells whether the head's machine is what the file describes. One that
// upstream launched carries only the hash of what was filled in.
func (u *up) fits() bool {
	if u.head.Type != u.Config.HeadType {
		return false
	}
	if own := u.head.Tags[providers.TagFileHash]; own != "" {
		return own == u.launch
	}
	tag := u.head.Tags[providers.TagLaunchHash]
	if tag == "" || tag == u.launch {
		return true
	}
	filled, err := u.Config.LaunchHash(u.Config.HeadType)
	return err == nil && tag == filled
}

// foresee fills in what the file leaves open as `provide` would, for a head of
// upstream's, but makes nothing. What would have to be made was not there for
// upstream either, so that the head does not fit.
func (u *up) foresee(ctx context.Context) error {
	p, ok := u.preparer()
	if !ok || u.head == nil || !madeByUpstream(u.head) || u.fits() {
		return nil
	}
	cfg, err := p.Foresee(ctx)
	if errors.Is(err, providers.ErrUnmade) {
		return nil
	}
	if err != nil {
		return err
	}
	return u.adopt(cfg.Named(u.file.Source).Since(u.file))
}

// process is one on a host; its start distinguishes it from a later one.
type process struct {
	pid, parent int
	start       uint64
}

// upstreamRuns is what of upstream's runtime runs on a host.
type upstreamRuns struct {
	processes []process // nothing runs if there are none
	jobs      []string
	unknown   error // why the jobs could not be listed
}

// findUpstream is a command that lists every process's stat, then the daemons
// of upstream's cluster whose head has the port: one that is in nobody's way
// goes on. The brackets keep the search from finding itself.
func findUpstream(port string) string {
	return `cat /proc/[0-9]*/stat 2>/dev/null; LC_ALL=C grep -laE '/core/src/ray/(gcs/gcs_serve[r]|raylet/rayle[t])|` +
		`/ray/dashboard/dashboard[.]p[y]|/ray/_private/(log_monitor|ray_process_reaper)[.]p[y]|` +
		`/ray/autoscaler/_private/monitor[.]p[y]|ray[.]util[.]client[.]serve[r]' /proc/[0-9]*/cmdline 2>/dev/null | ` +
		`LC_ALL=C xargs -r grep -laE -e '--(gcs_server_port=|(gcs-)?address=[^[:cntrl:]]*:)` + port + `([^0-9]|$)' 2>/dev/null || true`
}

var rePort = regexp.MustCompile(`--port[= ]\s*"?(\d+)`)

// startPort is the port that the head is told to take.
func (c *Cluster) startPort() string {
	if m := rePort.FindStringSubmatch(strings.Join(c.Config.HeadStart, "\n")); m != nil {
		return m[1]
	}
	return "6379"
}

// upstreamDashboard is where upstream's head serves its jobs.
const upstreamDashboard = "127.0.0.1:8265"

func lookForUpstream(ctx context.Context, host sshx.Host, port string) (upstreamRuns, error) {
	out, err := sshx.Output(ctx, host, findUpstream(port))
	if err != nil {
		return upstreamRuns{}, err
	}
	r := upstreamRuns{processes: familyOf(out, nil)}
	if len(r.processes) > 0 {
		r.jobs, r.unknown = upstreamJobs(ctx, host)
	}
	return r, nil
}

// familyOf reads what findUpstream's command printed: the processes that it found, those
// known (process → start) that still run, and all that they started.
func familyOf(out string, known map[int]uint64) []process {
	all := map[int]process{}
	found := map[int]bool{}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if path, ok := strings.CutPrefix(line, "/proc/"); ok {
			if pid, err := strconv.Atoi(strings.TrimSuffix(path, "/cmdline")); err == nil {
				found[pid] = true
			}
			continue
		}
		pid, _ := strconv.Atoi(line[:max(strings.IndexByte(line, ' '), 0)])
		state, start, ok := lifeOf(line)
		if !ok || state == "Z" {
			continue
		}
		parent, _ := strconv.Atoi(strings.Fields(line[strings.LastIndexByte(line, ')')+1:])[1])
		all[pid] = process{pid, parent, start}
	}
	var family []process
	for pid, p := range all {
		for up, steps := pid, 0; up > 1 && steps < len(all); up, steps = all[up].parent, steps+1 {
			if start, is := known[up]; found[up] || is && start == all[up].start {
				family = append(family, p)
				break
			}
		}
	}
	slices.SortFunc(family, func(a, b process) int { return a.pid - b.pid })
	return family
}

// upstreamJobs names the jobs that have not ended, by the job API of upstream.
func upstreamJobs(ctx context.Context, host sshx.Host) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	f, err := host.Forward(ctx, "127.0.0.1:0", upstreamDashboard)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listening(f, upstreamDashboard)+"/api/jobs/", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("its dashboard answers %s", resp.Status)
	}
	var all []struct {
		Status, Entrypoint string
		Submission         string `json:"submission_id"`
		Job                string `json:"job_id"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxDownload)).Decode(&all); err != nil {
		return nil, fmt.Errorf("its dashboard's list of jobs: %w", err)
	}
	var names []string
	for _, j := range all {
		if j.Status != "PENDING" && j.Status != "RUNNING" {
			continue
		}
		names = append(names, strings.TrimSpace(cmp.Or(j.Submission, j.Job)+" "+strconv.Quote(j.Entrypoint)))
	}
	return names, nil
}

// ends says what ends with it.
func (r upstreamRuns) ends() string {
	switch {
	case r.unknown != nil:
		return fmt.Sprintf("its jobs end (they could not be listed: %v)", r.unknown)
	case len(r.jobs) == 0:
		return "no job runs on it"
	case len(r.jobs) == 1:
		return "the job " + r.jobs[0] + " ends"
	}
	return fmt.Sprintf("its %d jobs end: %s", len(r.jobs), strings.Join(r.jobs, ", "))
}

// askToEvict asks whether upstream's runtime on the head's machine, if one
// runs there, may end. It ends when the head is about to start.
func (u *up) askToEvict(ctx context.Context, host sshx.Host) error {
	if u.evict {
		return nil
	}
	where, err := u.whereHeadRuns(ctx, host)
	if err != nil {
		return err
	}
	runs, err := lookForUpstream(ctx, where, u.startPort())
	if err != nil || len(runs.processes) == 0 {
		return err
	}
	u.evict = true
	return u.ask(fmt.Sprintf("Upstream's Ray runs on %s. Take the machine over? Upstream's Ray stops there; %s.", host, runs.ends()))
}

// evictWait bounds how long upstream's processes may take to end by themselves.
const evictWait = 10 * time.Second

// endUpstream ends upstream's processes on the host and waits until they are
// gone: they are asked to, and killed if they take too long.
func endUpstream(ctx context.Context, host sshx.Host, port string) error {
	known := map[int]uint64{}
	for begun := time.Now(); ; {
		out, err := sshx.Output(ctx, host, findUpstream(port))
		if err != nil {
			return err
		}
		left := familyOf(out, known)
		if len(left) == 0 {
			return nil
		}
		signal, pids, late := "TERM", "", time.Since(begun) > evictWait
		if late {
			signal = "KILL"
		}
		for _, p := range left {
			if known[p.pid] != p.start || late {
				pids += " " + strconv.Itoa(p.pid)
			}
			known[p.pid] = p.start
		}
		if time.Since(begun) > 2*evictWait {
			return fmt.Errorf("upstream's Ray on %s does not end (processes%s, perhaps another user's): run upstream's `ray stop` there, then `ray up` again", host, pids)
		}
		if pids != "" {
			kill := "kill -" + signal + pids + " 2>/dev/null"
			if _, err := sshx.Output(ctx, host, kill+" || sudo -n "+kill+" || true"); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// whereHeadRuns is the head's container if it runs, else its machine.
func (u *up) whereHeadRuns(ctx context.Context, host sshx.Host) (sshx.Host, error) {
	n := u.node(*u.head, host)
	runs, err := bootstrap.ContainerRuns(ctx, &n)
	if err != nil || !runs {
		return host, err
	}
	return bootstrap.Inside(&n), nil
}
