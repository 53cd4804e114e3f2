package runtimeenv

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// pluginsVariable names the plugins of a node: a JSON list of classes.
const pluginsVariable = "RAY_RUNTIME_ENV_PLUGINS"

// pluginContext is what plugins may change: how workers are started.
type pluginContext struct {
	CommandPrefix []string          `json:"command_prefix"`
	EnvVars       map[string]string `json:"env_vars"`
	PyExecutable  string            `json:"py_executable"`
}

// pluginReply is a line from the plugins' process.
type pluginReply struct {
	ID      int            `json:"id"`
	Log     string         `json:"log"`
	Error   string         `json:"error"`
	Context *pluginContext `json:"context"`
}

// pluginHost is the process in which the plugins live.
type pluginHost struct {
	stdin io.WriteCloser

	mu      sync.Mutex
	last    int
	waiting map[int]chan pluginReply
	ended   error // set when the process is gone
}

// plugged has the plugins whose fields the environment has change it.
func (m *Manager) plugged(ctx context.Context, r Request, f *fields, out *Env) error {
	h, err := m.pluginHost(r.Python)
	if err != nil {
		return err
	}
	before := pluginContext{EnvVars: maps.Clone(out.Vars), PyExecutable: r.Python}
	maps.Copy(before.EnvVars, out.ServerVars)
	if out.Python != "" {
		before.PyExecutable = out.Python
	}
	m.mu.Lock()
	m.pluginUsers[r.Holder] = h
	m.mu.Unlock()
	after, err := h.ask(ctx, map[string]any{"env": r.Env, "holder": r.Holder, "context": before}, m.logFor(r.Job))
	if err != nil {
		return fmt.Errorf("plugins: %w", err)
	}
	out.Vars, out.ServerVars = map[string]string{}, map[string]string{}
	for k, v := range after.EnvVars {
		if readAtStart(k) {
			out.ServerVars[k] = v
		} else {
			out.Vars[k] = v
		}
	}
	if len(after.CommandPrefix) == 0 && after.PyExecutable == before.PyExecutable {
		return nil
	}
	line := strings.Join(append(after.CommandPrefix, "exec", after.PyExecutable), " ")
	if err := m.launcher(ctx, r, "command of plugins: "+masked(line), line, out); err != nil {
		return err
	}
	return m.checkVersion(ctx, r, out)
}

// pluginHost gives the plugins' process, started if it does not run.
func (m *Manager) pluginHost(python string) (*pluginHost, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.plugins; h != nil && h.gone() == nil {
		return h, nil
	}
	if python == "" {
		python = "python3"
	}
	cmd := exec.CommandContext(m.ctx, python, "-m", "ray._private.runtime_env.plugin_host")
	path := m.cfg.Package
	if old := os.Getenv("PYTHONPATH"); old != "" {
		path += string(os.PathListSeparator) + old
	}
	cmd.Env = append(os.Environ(), "PYTHONPATH="+path)
	cmd.WaitDelay = killGrace
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	said := newOutput() // stderr, and what plugins print
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the process for plugins cannot be started: %w", err)
	}
	h := &pluginHost{stdin: stdin, waiting: map[int]chan pluginReply{}}
	m.plugins = h
	m.wg.Go(func() {
		h.listen(stdout)
		err := cmd.Wait()
		said.close()
		h.end(errors.Join(errors.New("the process in which plugins run has ended"), err, errors.New(strings.TrimSpace(said.end()))))
	})
	return h, nil
}

// ask has an environment made. It may take as long as ctx allows.
func (h *pluginHost) ask(ctx context.Context, message map[string]any, log *setupLog) (*pluginContext, error) {
	answers := make(chan pluginReply, 64)
	h.mu.Lock()
	h.last++
	id := h.last
	message["id"] = id
	ended := h.ended
	if ended == nil {
		h.waiting[id] = answers
	}
	h.mu.Unlock()
	if ended != nil {
		return nil, ended
	}
	defer func() {
		h.mu.Lock()
		delete(h.waiting, id)
		h.mu.Unlock()
	}()
	h.send(message)
	for {
		select {
		case <-ctx.Done():
			h.send(map[string]any{"cancel": id})
			return nil, context.Cause(ctx)
		case a, open := <-answers:
			switch {
			case !open:
				return nil, h.gone()
			case a.Error != "":
				return nil, errors.New(a.Error)
			case a.Context != nil:
				return a.Context, nil
			}
			log.write(a.Log)
		}
	}
}

// send writes a message; what a process that is gone does not get does not matter.
func (h *pluginHost) send(message any) {
	text, err := json.Marshal(message)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = h.stdin.Write(append(text, '\n'))
}

// listen hands out what the process says, until its end.
func (h *pluginHost) listen(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		var a pluginReply
		if json.Unmarshal(bytes.TrimSpace(line), &a) == nil {
			h.mu.Lock()
			if answers := h.waiting[a.ID]; answers != nil {
				if a.Log == "" || len(answers) < cap(answers)/2 { // of a flood of lines some are lost
					answers <- a
				}
			}
			h.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

func (h *pluginHost) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = err
	for _, answers := range h.waiting {
		close(answers)
	}
	clear(h.waiting)
}

func (h *pluginHost) gone() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended
}
