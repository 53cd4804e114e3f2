package node

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

const (
	stackPatience = 2 * time.Second // for the process's own threads
	dumpPatience  = time.Second     // for its signal handler
	stackSignal   = syscall.Signal(41)
	stackFile     = "/memfd:ray-stacks"
)

// serveObserver answers the questions of a command about this node: it has no
// job and holds nothing.
func (d *daemon) serveObserver(conn net.Conn, r *wire.Reader) {
	if _, err := conn.Write(wire.AppendJSON(nil, wire.THelloOK, d.helloOK(&client{}))); err != nil {
		return
	}
	for {
		f, err := r.Next()
		var m wire.Call
		if err != nil || f.Type != wire.TCall || m.Decode(f.Body) != nil {
			return
		}
		var v any
		err = &spec.ErrorInfo{Type: "RuntimeError", Message: fmt.Sprintf("not supported yet: call %q of an observer", m.Method)}
		if string(m.Method) == "stacks" {
			v, err = d.stacks(), nil
		}
		if _, err := conn.Write(wire.AppendReply(nil, m.ID, v, nil, err)); err != nil {
			return
		}
	}
}

// stacks asks every process of this node what its threads do.
func (d *daemon) stacks() []wire.Stack {
	var out []wire.Stack
	var wg sync.WaitGroup
	d.locked(func() {
		out = make([]wire.Stack, 0, len(d.clients))
		for _, c := range d.clients {
			out = append(out, wire.Stack{PID: c.hello.PID, Kind: c.hello.Role, ID: c.id, IP: d.cfg.NodeIP})
			s := &out[len(out)-1]
			answer := make(chan string, 1)
			c.stacks = append(c.stacks, answer)
			c.control(wire.AppendFrame(nil, wire.Frame{Type: wire.TStack}))
			local := !c.remote
			wg.Go(func() { awaitStack(s, answer, local) })
		}
	})
	wg.Wait()
	return out
}

// stackText hands a process's answer to those that asked.
func (d *daemon) stackText(c *client, m *wire.Call) {
	for _, ask := range c.stacks {
		ask <- string(m.Tail) // room for one, and each is sent one
	}
	c.stacks = nil
}

// awaitStack waits for the text. A process that does not give it is looked at
// from outside, if it runs on this machine.
func awaitStack(s *wire.Stack, answer <-chan string, local bool) {
	t := time.NewTimer(stackPatience)
	defer t.Stop()
	select {
	case s.Text = <-answer:
		return
	case <-t.C:
	}
	if !local {
		s.Problem = fmt.Sprintf("it did not answer in %v", stackPatience)
		return
	}
	switch state := processState(s.PID); state {
	case "":
		s.Problem = "it has just ended"
	case "T", "t":
		s.Problem = "it is stopped (SIGSTOP or a debugger): `kill -CONT " + strconv.Itoa(s.PID) + "` lets it go on"
	case "Z":
		s.Problem = "it has ended, and its parent has not yet noticed"
	case "D":
		s.Problem = "the kernel keeps it waiting (state D), perhaps for a disk or a network file system"
	default:
		s.Problem = fmt.Sprintf("its threads did not answer in %v: C code may be keeping the interpreter's lock", stackPatience)
		if text := dumpStack(s.PID); text != "" {
			s.Problem += "; this is what its signal handler saw"
			s.Text = text
		}
	}
}

// processState is the letter that ps shows; "" for no process.
func processState(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

// dumpStack lets the handler that workers install for stackSignal write their
// stacks into the file that they keep for it: that needs no lock of the
// interpreter. "" if the process has no such handler or does not answer.
func dumpStack(pid int) string {
	file := stackDump(pid)
	if file == "" || !catches(pid, stackSignal) {
		return ""
	}
	before, err := os.ReadFile(file)
	if err != nil || syscall.Kill(pid, stackSignal) != nil {
		return ""
	}
	text := ""
	for end := time.Now().Add(dumpPatience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		now, err := os.ReadFile(file)
		if err != nil || len(now) < len(before) {
			return text
		}
		if grown := string(now[len(before):]); grown != "" && grown == text {
			return text // it has stopped growing
		} else {
			text = grown
		}
	}
	return text
}

// stackDump finds the file into which a worker's handler writes.
func stackDump(pid int) string {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, stackFile) {
			return link
		}
	}
	return ""
}

// catches tells whether a process has a handler for a signal; without one
// most signals end it.
func catches(pid int, sig syscall.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(status), "SigCgt:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	return ok && err == nil && mask>>(sig-1)&1 == 1
}
