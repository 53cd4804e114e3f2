package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"ray/providers"
)

// engine is the command of Docker or Podman.
type engine struct{ path string }

// findEngine looks for the command: docker, else podman.
func findEngine(podman bool) (engine, error) {
	names := []string{"docker", "podman"}
	if podman {
		names = names[1:]
	}
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return engine{path}, nil
		}
	}
	return engine{}, &providers.Error{Cause: providers.BadConfig, Op: "docker provider: find " + strings.Join(names, " or "),
		Err: errors.New("not in PATH"), Hint: "install Docker or Podman, or use the process provider, which needs neither"}
}

// output runs the command and gives what it prints.
func (e engine) output(ctx context.Context, op string, args ...string) (string, error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, e.path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil {
		return out.String(), nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return out.String(), classify(op, err, strings.TrimSpace(errOut.String()))
}

// refusals are what engines print, and what that means.
var refusals = []struct {
	text  string
	cause providers.Cause
	hint  string
}{
	{"permission denied while trying to connect", providers.Auth, "add yourself to the group docker, or set provider.use_podman: true"},
	{"cannot connect to the docker daemon", providers.BadConfig, "start Docker (sudo systemctl start docker), or set provider.use_podman: true"},
	{"no such file or directory: docker.sock", providers.BadConfig, "start Docker (sudo systemctl start docker), or set provider.use_podman: true"},
	{"no space left on device", providers.Capacity, "free some disk space, for example with `docker system prune`"},
	{"netavark", providers.BadConfig, "install netavark, or set provider.network: host"},
	{"cni", providers.BadConfig, "install containernetworking-plugins, or set provider.network: host"},
	{"pull access denied", providers.BadConfig, "check the image's name, and log in to its registry"},
	{"manifest unknown", providers.BadConfig, "check the image's name and tag"},
	{"no such image", providers.BadConfig, "check the image's name and tag"},
	{"unable to copy from source", providers.BadConfig, "check the image's name and tag, and that its registry can be reached"},
	{"initializing source", providers.BadConfig, "check the image's name and tag, and that its registry can be reached"},
	{"unknown flag", providers.BadConfig, "check run_options"},
	{"executable file not found", providers.BadConfig, "the image must have /bin/bash"},
}

func classify(op string, err error, text string) error {
	e := &providers.Error{Cause: providers.Transient, Op: "docker provider: " + op, Err: err}
	if text != "" {
		e.Err = fmt.Errorf("%w: %s", err, text)
	}
	low := strings.ToLower(text)
	for _, r := range refusals {
		if strings.Contains(low, r.text) {
			e.Cause, e.Hint = r.cause, r.hint
			break
		}
	}
	return e
}

// network makes the cluster's network unless it is there.
func (e engine) network(ctx context.Context, name, cluster string) error {
	if _, err := e.output(ctx, "look for the network", "network", "inspect", name); err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	_, err := e.output(ctx, "make the network "+name, "network", "create", "--label", providers.TagCluster+"="+cluster, name)
	if err != nil {
		if _, again := e.output(ctx, "look for the network", "network", "inspect", name); again == nil {
			return nil // another launcher was faster
		}
	}
	return err
}

// container is what inspect says, as far as Docker and Podman agree.
type container struct {
	Created time.Time
	State   struct {
		Status     string
		ExitCode   int
		OOMKilled  bool
		FinishedAt time.Time
	}
	Config struct {
		Labels map[string]string
		Env    []string
	}
	NetworkSettings struct {
		IPAddress string
		Networks  map[string]struct{ IPAddress string }
	}
}

// inspect describes the containers that are there.
func (e engine) inspect(ctx context.Context, names ...string) ([]container, error) {
	out, err := e.output(ctx, "look at containers", append([]string{"inspect", "--type", "container"}, names...)...)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var list []container
	if jerr := json.Unmarshal([]byte(out), &list); err == nil && jerr != nil {
		return nil, fmt.Errorf("docker provider: what %s inspect printed cannot be read: %w", e.path, jerr)
	}
	if err != nil && !strings.Contains(strings.ToLower(err.Error()), "no such") {
		return nil, err
	}
	return list, nil // those that are not there are left out
}

// list gives the cluster's containers.
func (e engine) list(ctx context.Context, cluster string) ([]providers.Instance, error) {
	out, err := e.output(ctx, "list", "ps", "-a", "-q", "--no-trunc", "--filter", "label="+providers.TagCluster+"="+cluster, "--filter", "label="+labelID)
	if err != nil {
		return nil, err
	}
	ids := strings.Fields(out)
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := e.inspect(ctx, ids...)
	if err != nil {
		return nil, err
	}
	var all []providers.Instance
	for _, c := range found {
		all = append(all, c.instance())
	}
	return all, nil
}

func (c container) id() string { return c.Config.Labels[labelID] }

// env gives a variable of the container.
func (c container) env(name string) string {
	for _, kv := range c.Config.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (c container) instance() providers.Instance {
	i := providers.Instance{
		ID: c.id(), Type: c.Config.Labels[providers.TagType], Kind: c.Config.Labels[providers.TagKind],
		Tags: c.Config.Labels, Created: c.Created, IP: c.NetworkSettings.IPAddress,
	}
	for _, n := range c.NetworkSettings.Networks {
		if i.IP == "" {
			i.IP = n.IPAddress
		}
	}
	if i.IP == "" {
		i.IP = "127.0.0.1" // the machine's own network
	}
	i.ExternalIP = i.IP
	switch c.State.Status {
	case "created", "configured", "initialized":
		i.State = providers.Pending
	case "removing", "stopping":
		i.State = providers.Stopping
	case "exited", "dead", "stopped":
		i.State, i.Ended = providers.Terminated, c.State.FinishedAt
		i.Reason = fmt.Sprintf("the container ended with status %d", c.State.ExitCode)
		if c.State.OOMKilled {
			i.Reason = "the container ran out of memory"
		}
	default: // running, paused, restarting
		i.State = providers.Running
	}
	return i
}
