package node

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ray/internal/logfile"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/proc"
)

// onLines passes a worker's output to the driver of its job.
func (d *daemon) onLines(l proc.Lines) {
	batch := wire.LogBatch{Stream: l.Stream, PID: l.PID, IP: d.cfg.NodeIP, Name: l.Name, Kind: "worker", Lines: l.Lines}
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.jobs[l.JobID]
	if j == nil {
		return
	}
	if w := d.workers[l.ID]; w != nil && w.actor != nil && w.actor.repr != "" {
		batch.Name = w.actor.repr
	}
	if j.driver != nil {
		d.toDriver(j.driver, batch)
		return
	}
	if !j.dead && !j.info.Driver.IsZero() && j.info.Driver != d.self {
		id := l.JobID
		d.toPeer(j.info.Driver, func(b []byte) []byte { return wire.AppendJSON(b, pLog, remoteLog{id, batch}) })
	}
}

// pLog carries output lines to the node of the driver.
const pLog wire.Type = 0x79

type remoteLog struct {
	Job   spec.JobID    `json:"job"`
	Batch wire.LogBatch `json:"batch"`
}

func (d *daemon) toDriver(c *client, batch wire.LogBatch) {
	if h := c.hello.Job; h != nil && !h.LogToDriver && batch.Kind == "worker" {
		return
	}
	if c.ctl != nil && c.ctl.Pending() < maxUnread {
		c.control(wire.AppendJSON(nil, wire.TLog, []wire.LogBatch{batch}))
	}
}

// logLines prints lines of the system at the drivers that are connected here.
func (d *daemon) logLines(l wire.LogLines) {
	for _, c := range d.clients {
		if c.worker == nil && (l.JobID.IsZero() || c.job.id == l.JobID) {
			d.toDriver(c, wire.LogBatch{Stream: "err", Kind: l.Kind, IP: d.cfg.NodeIP, Lines: l.Lines})
		}
	}
}

func (d *daemon) logPath(name string) (string, error) {
	root := filepath.Join(d.cfg.SessionDir, "logs")
	p := filepath.Join(root, filepath.Clean("/"+name))
	if !strings.HasPrefix(p, root+string(filepath.Separator)) {
		return "", &spec.ErrorInfo{Type: "ValueError", Message: "no log file " + name}
	}
	return p, nil
}

const logMax = 1 << 20

func (d *daemon) logRead(_ context.Context, r *wire.Request) (any, []byte, error) {
	var in wire.LogRead
	if err := r.Decode(&in); err != nil {
		return nil, nil, err
	}
	p, err := d.logPath(in.File)
	if err != nil {
		return nil, nil, err
	}
	log, err := logfile.Open(p)
	if err != nil {
		return nil, nil, &spec.ErrorInfo{Type: wire.ErrNoLogFile, Message: "no log file " + in.File + " on this node"}
	}
	defer log.Close()
	if in.Max <= 0 || in.Max > 16<<20 {
		in.Max = logMax
	}
	if in.Lines > 0 {
		if in.Offset, err = lastLines(log, in.Lines); err != nil {
			return nil, nil, err
		}
	}
	in.Offset = max(in.Offset, log.Start)
	buf := make([]byte, min(int64(in.Max), max(0, log.End-in.Offset)))
	n, err := log.ReadAt(buf, in.Offset)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	return wire.LogChunk{Start: in.Offset, Next: in.Offset + int64(n), EOF: in.Offset+int64(n) >= log.End}, buf[:n], nil
}

// lastLines finds where the last n lines of a log begin.
func lastLines(log *logfile.View, n int) (int64, error) {
	buf := make([]byte, 64<<10)
	for at := log.End; at > log.Start; {
		k := min(int64(len(buf)), at-log.Start)
		at -= k
		if _, err := log.ReadAt(buf[:k], at); err != nil && err != io.EOF {
			return 0, err
		}
		for i := k - 1; i >= 0; i-- {
			if buf[i] == '\n' && at+i+1 < log.End {
				if n--; n == 0 {
					return at + i + 1, nil
				}
			}
		}
	}
	return log.Start, nil
}

func (d *daemon) logList(_ context.Context, r *wire.Request) (any, []byte, error) {
	var in wire.LogList
	if err := r.Decode(&in); err != nil {
		return nil, nil, err
	}
	if in.Glob == "" {
		in.Glob = "*"
	}
	names, err := filepath.Glob(filepath.Join(d.cfg.SessionDir, "logs", filepath.Clean("/"+in.Glob)))
	if err != nil {
		return nil, nil, &spec.ErrorInfo{Type: "ValueError", Message: "bad pattern " + in.Glob}
	}
	out := []wire.LogFile{}
	for _, n := range names {
		if st, err := os.Stat(n); err == nil && !st.IsDir() && !logfile.Internal(n) {
			rel, _ := filepath.Rel(filepath.Join(d.cfg.SessionDir, "logs"), n) // both are absolute
			out = append(out, wire.LogFile{Name: rel, Size: st.Size()})
		}
	}
	return out, nil, nil
}
