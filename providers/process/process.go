// Package process is the provider whose nodes are process trees on this
// machine: a whole cluster, autoscaler included, without a cloud. An instance
// is a directory with a record; commands "on" it run here with its environment.
// Ending an instance ends every process that came from it and removes the
// directory.
//
// The record on disk is the truth, so that a launcher, a head and a second
// launcher see the same instances, whatever was killed in between.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ray/internal/cluster"
	"ray/internal/session"
	"ray/internal/sshx"
	"ray/providers"
)

// remember is how long an ended instance stays in the list.
const remember = 30 * time.Minute

// Options says where the provider keeps its instances.
type Options struct {
	Dir     string // one directory per instance, made when needed
	Cluster string
	// Ray is the path by which the ray program was called; instances find it,
	// and the python3 beside it, first in PATH.
	Ray string
}

// Provider implements providers.Provider.
type Provider struct{ o Options }

var _ providers.Provider = (*Provider)(nil)

// New gives the provider; nothing is made yet.
func New(o Options) (*Provider, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	return &Provider{o}, nil
}

// Traits implements providers.Provider.
func (p *Provider) Traits() providers.Traits {
	return providers.Traits{SharedMachine: true, Divided: true}
}

// lock keeps two processes from changing the instances at once. The lock goes
// with its holder, however that ends.
func (p *Provider) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.o.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(p.o.Dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// Create implements providers.Provider.
func (p *Provider) Create(ctx context.Context, req providers.CreateRequest) ([]providers.Instance, error) {
	unlock, err := p.lock(ctx)
	if err != nil {
		return nil, p.wrap("create", err)
	}
	defer unlock()
	var made []providers.Instance
	for n := range req.Count {
		id := providers.InstanceID(p.o.Cluster, req.Token, n)
		inst, err := p.read(id)
		if errors.Is(err, fs.ErrNotExist) {
			inst, err = p.make(id, req)
		}
		if err != nil {
			return made, p.wrap("create", err)
		}
		made = append(made, inst)
	}
	return made, nil
}

func (p *Provider) make(id string, req providers.CreateRequest) (providers.Instance, error) {
	tags := maps.Clone(req.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, map[string]string{
		providers.TagCluster: p.o.Cluster, providers.TagKind: req.Kind, providers.TagType: req.Type, providers.TagRequest: req.Token,
	})
	inst := providers.Instance{
		ID: id, Type: req.Type, Kind: req.Kind, State: providers.Running, Tags: tags,
		IP: "127.0.0.1", ExternalIP: "127.0.0.1", Created: time.Now(),
	}
	for _, dir := range []string{p.home(id), p.tmp(id)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return inst, err
		}
	}
	return inst, p.write(p.record(id), inst)
}

// Tag implements providers.Tagger.
func (p *Provider) Tag(ctx context.Context, id string, tags map[string]string) error {
	unlock, err := p.lock(ctx)
	if err != nil {
		return p.wrap("tag", err)
	}
	defer unlock()
	inst, err := p.read(id)
	if err != nil {
		return p.wrap("tag", err)
	}
	maps.Copy(inst.Tags, tags)
	if err := p.write(p.record(id), inst); err != nil {
		return p.wrap("tag", err)
	}
	return nil
}

func (p *Provider) dir(id string) string    { return filepath.Join(p.o.Dir, id) }
func (p *Provider) record(id string) string { return filepath.Join(p.dir(id), "instance.json") }
func (p *Provider) home(id string) string   { return filepath.Join(p.dir(id), "home") }
func (p *Provider) tmp(id string) string    { return filepath.Join(p.dir(id), "ray") }
func (p *Provider) ended() string           { return filepath.Join(p.o.Dir, ".ended") }

func (p *Provider) read(id string) (providers.Instance, error) {
	var inst providers.Instance
	data, err := os.ReadFile(p.record(id))
	if err != nil {
		return inst, err
	}
	if err := json.Unmarshal(data, &inst); err != nil {
		return inst, fmt.Errorf("%s: %w", p.record(id), err)
	}
	return inst, nil
}

func (p *Provider) write(path string, inst providers.Instance) error {
	data, err := json.MarshalIndent(inst, "", "  ")
	if err != nil {
		return err
	}
	return session.WriteFile(path, append(data, '\n'))
}

func (p *Provider) wrap(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &providers.Error{Cause: providers.Transient, Op: "process provider: " + op, Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Cause, e.Hint = providers.BadConfig, "check who owns "+p.o.Dir
	case errors.Is(err, syscall.ENOSPC):
		e.Cause, e.Hint = providers.Capacity, "free some disk space under "+p.o.Dir
	}
	return e
}

// List implements providers.Provider.
func (p *Provider) List(ctx context.Context) ([]providers.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var all []providers.Instance
	for _, dir := range []string{p.o.Dir, p.ended()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, p.wrap("list", err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if e.IsDir() {
				path = filepath.Join(path, "instance.json")
			}
			var inst providers.Instance
			data, err := os.ReadFile(path)
			// A directory without a record is one that is being made or removed.
			if err != nil || json.Unmarshal(data, &inst) != nil || inst.ID == "" {
				continue
			}
			if inst.State == providers.Terminated && time.Since(inst.Ended) > remember {
				_ = os.Remove(path)
				continue
			}
			all = append(all, inst)
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

// Terminate implements providers.Provider. It returns when the instances'
// processes are gone.
func (p *Provider) Terminate(ctx context.Context, ids []string) error {
	return together(ids, func(id string) error { return p.terminate(ctx, id) })
}

// together does something to all instances at once.
func together(ids []string, do func(id string) error) error {
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for n, id := range ids {
		wg.Go(func() { errs[n] = do(id) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (p *Provider) terminate(ctx context.Context, id string) error {
	inst, err := p.read(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return p.wrap("terminate "+id, err)
	}
	inst.State = providers.Stopping
	if err := p.write(p.record(id), inst); err != nil {
		return p.wrap("terminate "+id, err)
	}
	if err := p.endProcesses(ctx, id); err != nil {
		return p.wrap("terminate "+id, err)
	}
	// The record goes first: what is left of the directory after a crash here
	// is no instance any more.
	if err := errors.Join(p.forget(inst), os.RemoveAll(p.dir(id))); err != nil {
		return p.wrap("terminate "+id, err)
	}
	return nil
}

// Host implements providers.Provider.
func (p *Provider) Host(ctx context.Context, id string) (sshx.Host, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := p.read(id); err != nil {
		return nil, fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
	}
	bootstrap := filepath.Join(p.home(id), strings.TrimPrefix(cluster.BootstrapPath, "~/"))
	return &sshx.Local{
		Name: id, Home: p.home(id), Env: p.env(id),
		Rewrite: func(line string) string {
			return strings.ReplaceAll(line, cluster.BootstrapPath, sshx.Quote(bootstrap))
		},
		Started: func(pid int) { p.started(id, pid) },
	}, nil
}

// env is the environment of everything that runs on the instance. What the
// caller's own node left in the environment must not reach it.
func (p *Provider) env(id string) map[string]string {
	env := map[string]string{
		"RAY_TMPDIR": p.tmp(id), "RAY_CLOUD_INSTANCE_ID": id, "RAY_ADDRESS": "", "RAY_AUTH_TOKEN": "",
	}
	if p.o.Ray != "" {
		path := []string{p.rayDir(id)}
		if dir := filepath.Dir(p.o.Ray); dir != path[0] {
			path = append(path, dir)
		}
		env["PATH"] = strings.Join(append(path, os.Getenv("PATH")), string(os.PathListSeparator))
	}
	return env
}

// rayDir is a directory in which "ray" is our program: the program's own, or,
// where it has another name, one with a link.
func (p *Provider) rayDir(id string) string {
	if filepath.Base(p.o.Ray) == "ray" {
		return filepath.Dir(p.o.Ray)
	}
	dir := filepath.Join(p.dir(id), "bin")
	if err := os.MkdirAll(dir, 0o700); err == nil {
		_ = os.Symlink(p.o.Ray, filepath.Join(dir, "ray"))
	}
	return dir
}
