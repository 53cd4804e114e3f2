package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"ray/internal/session"
	"ray/internal/sshx"
	"ray/providers"
)

// Limits of ending an instance.
const (
	stopLimit = 20 * time.Second // for `ray stop --force`
	killLimit = 10 * time.Second // for killed processes to be gone
)

func (p *Provider) groupsFile(id string) string { return filepath.Join(p.dir(id), "groups.jsonl") }

// started notes a process that leads a group, so that the group can be ended
// even by another process than this one.
func (p *Provider) started(id string, pid int) {
	who, err := session.Identify(pid)
	if err != nil {
		return // it has ended already
	}
	line, err := json.Marshal(who)
	if err != nil {
		return
	}
	f, err := os.OpenFile(p.groupsFile(id), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write(append(line, '\n'))
	_ = f.Close()
}

// endProcesses asks the node to stop, then kills what is left: the groups of
// noted commands, and every process that carries the instance's environment.
func (p *Provider) endProcesses(ctx context.Context, id string) error {
	if _, ok := session.Newest(p.tmp(id)); ok && p.o.Ray != "" {
		stop, cancel := context.WithTimeout(ctx, stopLimit)
		host := &sshx.Local{Name: id, Home: p.home(id), Env: p.env(id)}
		_ = host.Run(stop, sshx.Command{Line: sshx.Quote(p.o.Ray) + " stop --force"}) // what it misses is killed below
		cancel()
	}
	for deadline := time.Now().Add(killLimit); ; {
		left := p.processes(id)
		if len(left) == 0 {
			break
		}
		for _, who := range left {
			_ = who.Signal(syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end though killed; they may be stuck in the kernel", left)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	_, err := session.List() // removes the files and sockets of daemons that are gone
	return err
}

// processes are those of the instance that still run, this process and its
// ancestors left out: the launcher may have been called from a shell there.
func (p *Provider) processes(id string) []session.Process {
	mine := ancestors()
	groups := map[int]bool{}
	data, _ := os.ReadFile(p.groupsFile(id))
	for line := range bytes.Lines(data) {
		var who session.Process
		if json.Unmarshal(line, &who) == nil && who.Alive() {
			groups[who.PID] = true
		}
	}
	entries, _ := os.ReadDir("/proc")
	marks := [][]byte{[]byte("RAY_CLOUD_INSTANCE_ID=" + id), []byte("RAY_TMPDIR=" + p.tmp(id))}
	var out []session.Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || mine[pid] {
			continue
		}
		group, err := syscall.Getpgid(pid)
		if !(err == nil && groups[group]) && !carries(pid, marks) {
			continue
		}
		if who, err := session.Identify(pid); err == nil {
			out = append(out, who)
		}
	}
	if len(entries) == 0 { // no /proc: only the groups' leaders are known
		for pid := range groups {
			if who, err := session.Identify(pid); err == nil && !mine[pid] {
				out = append(out, who)
			}
		}
	}
	return out
}

// carries tells whether the process was started with all these variables.
func carries(pid int, marks [][]byte) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false // another user's, or gone
	}
	env = append([]byte{0}, env...)
	for _, m := range marks {
		if !bytes.Contains(env, append(append([]byte{0}, m...), 0)) {
			return false
		}
	}
	return true
}

// ancestors are this process and those above it.
func ancestors() map[int]bool {
	out := map[int]bool{}
	for pid := os.Getpid(); pid > 1 && !out[pid]; {
		out[pid] = true
		parent, err := parentOf(pid)
		if err != nil {
			break
		}
		pid = parent
	}
	return out
}

func parentOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	end := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	if end < 0 || len(fields) < 2 {
		return 0, errors.New("unreadable stat")
	}
	return strconv.Atoi(string(fields[1]))
}

// EndSelf implements providers.SelfEnder: the instance is gone from the list,
// or stopped there, before its processes are, this one among them. They are
// ended by a program in a session of its own.
func (p *Provider) EndSelf(ctx context.Context, id string, keep bool) error {
	inst, err := p.read(id)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && keep {
		inst.State = providers.Stopped
		err = p.write(p.record(id), inst)
	} else if err == nil {
		err = p.forget(inst)
	}
	if err != nil {
		return p.wrap("end "+id, err)
	}
	line := sshx.Quote(p.o.Ray) + " stop --force"
	if !keep {
		line += "; rm -rf " + sshx.Quote(p.dir(id))
	}
	stop := exec.Command("/bin/sh", "-c", line) // outlives ctx
	stop.Env = append(os.Environ(), "RAY_TMPDIR="+p.tmp(id))
	stop.Dir = "/"
	stop.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := stop.Start(); err != nil {
		return p.wrap("end "+id, err)
	}
	go func() { _ = stop.Wait() }() // until it has ended this process
	return nil
}

// forget moves the record of an instance to those that have ended.
func (p *Provider) forget(inst providers.Instance) error {
	inst.State, inst.Ended = providers.Terminated, time.Now()
	if err := os.MkdirAll(p.ended(), 0o700); err != nil {
		return err
	}
	if err := p.write(filepath.Join(p.ended(), inst.ID+".json"), inst); err != nil {
		return err
	}
	return os.Remove(p.record(inst.ID))
}
