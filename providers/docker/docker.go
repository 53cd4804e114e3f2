// Package docker is the provider whose nodes are containers on this machine's
// engine, Docker or Podman: clusters of one machine whose nodes are as far
// apart as those of a cloud, each with files, processes and an address of its
// own. The engine's containers with the cluster's label are the truth about
// what exists.
//
// The head's autoscaler is inside a container and has no engine. It asks an
// agent (Serve) on the machine, which makes, lists and ends containers of this
// one cluster and runs commands in them, and ends with the head's container.
package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ray/internal/cluster"
	"ray/internal/session"
	"ray/internal/sshx"
	"ray/providers"
)

const (
	// remember is how long an ended instance stays in the list.
	remember = 30 * time.Minute
	// labelID is the label with an instance's id.
	labelID = "ray-instance-id"
	// keep is what a node's container runs: nothing, and it waits for whatever
	// becomes its child.
	keep = `trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done`
	// shm is the size of /dev/shm, where objects are, unless run_options give
	// one; engines give 64 MB.
	shm = "--shm-size=1g"
)

// Options is what the provider needs.
type Options struct {
	Dir    string // the cluster's state directory
	Config *cluster.Config
	Ray    string // this program, which serves as the agent; "" starts none
}

// Provider implements providers.Provider.
type Provider struct {
	o      Options
	engine engine
}

var _ providers.Provider = (*Provider)(nil)

// New gives the provider: one that asks the engine, or, in a head's container,
// the agent.
func New(o Options) (providers.Provider, error) {
	if secret := os.Getenv(secretVar); secret != "" {
		return &remote{path: agentSocket, secret: secret, cluster: o.Config.Name}, nil
	}
	return local(o)
}

func local(o Options) (*Provider, error) {
	e, err := findEngine(o.Config.Provider.Bool("use_podman", false))
	return &Provider{o, e}, err
}

// Check finds what is wrong with the node types of a cluster file.
func Check(cfg *cluster.Config) error {
	var all cluster.Problems
	for _, name := range cfg.TypeNames() {
		at := "available_node_types." + name + ".node_config"
		own := cfg.NodeTypes[name].NodeConfig
		for _, key := range slices.Sorted(maps.Keys(own)) {
			_, text := own[key].(string)
			_, list := own[key].([]any)
			switch {
			case key == "image" && !text:
				all = append(all, cfg.Problem(at+".image", providers.Mismatch("the name of an image", own[key])))
			case key == "run_options" && !list:
				all = append(all, cfg.Problem(at+".run_options", providers.Mismatch("a list of options of the engine's run", own[key])))
			case key != "image" && key != "run_options":
				all = append(all, cfg.Problem(at+"."+key, "unknown field; a container's node_config takes image and run_options"))
			}
		}
		if image(cfg, name) == "" {
			all = append(all, cfg.Problem(at, "no image for the node's container; give image here or in the provider section"))
		}
	}
	if len(all) > 0 {
		return all
	}
	return nil
}

func image(cfg *cluster.Config, nodeType string) string {
	if own, _ := cfg.NodeTypes[nodeType].NodeConfig["image"].(string); own != "" {
		return own
	}
	return cfg.Provider.Text("image")
}

// Traits implements providers.Provider.
func (p *Provider) Traits() providers.Traits { return traits }

var traits = providers.Traits{Divided: true}

// network is the one that the cluster's containers share: one of its own, so
// that they reach each other, unless the file names one.
func (p *Provider) network() (name string, own bool) {
	if n := p.o.Config.Provider.Text("network"); n != "" {
		return n, false
	}
	return "ray-" + p.o.Config.Name, true
}

func (p *Provider) name(id string) string {
	return "ray-" + p.o.Config.Name + "-" + strings.TrimPrefix(id, "i-")
}

// Create implements providers.Provider.
func (p *Provider) Create(ctx context.Context, req providers.CreateRequest) ([]providers.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, ok := p.o.Config.NodeTypes[req.Type]; !ok {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: "create " + req.Type, Err: errors.New("no such node type")}
	}
	if name, own := p.network(); own {
		if err := p.engine.network(ctx, name, p.o.Config.Name); err != nil {
			return nil, err
		}
	}
	var made []providers.Instance
	for n := range req.Count {
		inst, err := p.one(ctx, providers.InstanceID(p.o.Config.Name, req.Token, n), req)
		if err != nil {
			return made, err
		}
		made = append(made, inst)
	}
	return made, nil
}

// one makes one instance, or finds the one that an earlier call made.
func (p *Provider) one(ctx context.Context, id string, req providers.CreateRequest) (providers.Instance, error) {
	found, err := p.engine.inspect(ctx, p.name(id))
	if err != nil {
		return providers.Instance{}, err
	}
	if len(found) == 0 {
		if err := p.run(ctx, id, req); err != nil {
			return providers.Instance{}, err
		}
	} else if found[0].State.Status == "created" { // cut off between making and starting
		if _, err := p.engine.output(ctx, "start "+req.Type, "start", p.name(id)); err != nil {
			return providers.Instance{}, err
		}
	}
	if found, err = p.engine.inspect(ctx, p.name(id)); err != nil {
		return providers.Instance{}, err
	}
	if len(found) == 0 {
		return providers.Instance{}, &providers.Error{Cause: providers.Transient, Op: "create " + req.Type, Err: errors.New("the container is gone again")}
	}
	if req.Kind == providers.Head {
		err = p.agent(ctx, found[0])
	}
	return found[0].instance(), err
}

func (p *Provider) run(ctx context.Context, id string, req providers.CreateRequest) error {
	network, _ := p.network()
	args := []string{"run", "-d", "--name", p.name(id), "--network", network, "--entrypoint", "/bin/bash"}
	tags := maps.Clone(req.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, map[string]string{
		labelID: id, providers.TagCluster: p.o.Config.Name, providers.TagKind: req.Kind, providers.TagType: req.Type, providers.TagRequest: req.Token,
	})
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		args = append(args, "--label", k+"="+tags[k])
	}
	if req.Kind == providers.Head && p.o.Ray != "" {
		more, err := p.agentOptions()
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	options := words(p.o.Config.Provider.Texts("run_options"))
	own, _ := p.o.Config.NodeTypes[req.Type].NodeConfig["run_options"].([]any)
	for _, o := range own {
		options = append(options, words([]string{fmt.Sprint(o)})...)
	}
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "--shm-size") }) {
		args = append(args, shm)
	}
	args = append(append(args, options...), image(p.o.Config, req.Type), "-c", keep)
	_, err := p.engine.output(ctx, "create "+req.Type, args...)
	if err != nil && ctx.Err() == nil {
		// Engines leave a container behind that could not be started.
		_, _ = p.engine.output(ctx, "remove what could not start", "rm", "-f", "-v", p.name(id))
	}
	return err
}

// words splits options as a shell would where nothing is quoted, so that
// "-v /a:/b" may be written as one.
func words(options []string) []string {
	var out []string
	for _, o := range options {
		out = append(out, strings.Fields(o)...)
	}
	return out
}

// List implements providers.Provider.
func (p *Provider) List(ctx context.Context) ([]providers.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := p.there(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.State == providers.Terminated { // on its own: nothing else would remove it
			_ = p.end(ctx, i)
		}
	}
	for _, gone := range p.ended() {
		if !slices.ContainsFunc(all, func(i providers.Instance) bool { return i.ID == gone.ID }) {
			all = append(all, gone)
		}
	}
	slices.SortFunc(all, func(a, b providers.Instance) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, nil
}

// Terminate implements providers.Provider. It returns when the containers are
// gone; with the last of them goes the cluster's network.
func (p *Provider) Terminate(ctx context.Context, ids []string) error {
	all, err := p.engine.list(ctx, p.o.Config.Name)
	if err != nil {
		return err
	}
	left := len(all)
	var errs []error
	for _, i := range all {
		if !slices.Contains(ids, i.ID) {
			continue
		}
		if err := p.end(ctx, i); err != nil {
			errs = append(errs, err)
			continue
		}
		left--
	}
	if name, own := p.network(); own && left == 0 {
		_, _ = p.engine.output(ctx, "remove the network", "network", "rm", name) // what is in use stays
	}
	return errors.Join(errs...)
}

func (p *Provider) end(ctx context.Context, i providers.Instance) error {
	if _, err := p.engine.output(ctx, "terminate "+i.ID, "rm", "-f", "-v", p.name(i.ID)); err != nil {
		if found, ierr := p.engine.inspect(ctx, p.name(i.ID)); ierr != nil || len(found) > 0 {
			return err
		}
	}
	if i.State != providers.Terminated {
		i.State, i.Ended = providers.Terminated, time.Now()
	}
	data, err := json.Marshal(i)
	if err == nil {
		if err = os.MkdirAll(p.endedDir(), 0o700); err == nil {
			err = session.WriteFile(filepath.Join(p.endedDir(), i.ID+".json"), append(data, '\n'))
		}
	}
	if i.Kind == providers.Head {
		err = errors.Join(err, p.agentEnds())
	}
	return errors.Join(err, p.unkeep(i.ID))
}

func (p *Provider) endedDir() string { return filepath.Join(p.o.Dir, "ended") }

// ended are the instances that were ended lately. Their containers are gone,
// and the engine remembers nothing.
func (p *Provider) ended() []providers.Instance {
	files, _ := filepath.Glob(filepath.Join(p.endedDir(), "*.json"))
	var out []providers.Instance
	for _, f := range files {
		var i providers.Instance
		data, err := os.ReadFile(f)
		if err != nil || json.Unmarshal(data, &i) != nil {
			continue
		}
		if time.Since(i.Ended) > remember {
			_ = os.Remove(f)
			continue
		}
		out = append(out, i)
	}
	return out
}

// Host implements providers.Provider.
func (p *Provider) Host(ctx context.Context, id string) (sshx.Host, error) {
	found, err := p.engine.inspect(ctx, p.name(id))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0].id() != id || found[0].Config.Labels[providers.TagCluster] != p.o.Config.Name {
		return nil, fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
	}
	if found[0].instance().Kind == providers.Head {
		if err := p.agent(ctx, found[0]); err != nil {
			return nil, err
		}
	}
	return p.host(id), nil
}

// host is the container without asking whether it is there.
func (p *Provider) host(id string) sshx.Host {
	inside := &sshx.Container{
		Outer: &sshx.Local{Name: "this machine", Home: "/"}, Engine: p.engine.path, Name: p.name(id),
		Env: map[string]string{"PATH": "~/.ray/bin", "RAY_CLOUD_INSTANCE_ID": id},
	}
	return &sshx.CommandHost{Name: p.name(id), RunFunc: inside.Run, DialLine: dialLine}
}

// dialLine connects to an address as the container sees it, which has a
// network of its own.
func dialLine(address string) string { return "exec ~/.ray/bin/ray __dial " + sshx.Quote(address) }

// newSecret is what the head's container proves to the agent.
func newSecret() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
