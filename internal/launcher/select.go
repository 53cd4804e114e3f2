package launcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ray/internal/bootstrap"
	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/all"
)

// Launcher carries out verbs. Its fields are what it needs from outside; the
// zero values of the optional ones do nothing.
type Launcher struct {
	Root   string // state directory, see StateRoot
	Ray    string // this program, see all.RayPath
	In     io.Reader
	Out    io.Writer
	ErrOut io.Writer
	// Confirm asks a question whose answer may destroy something; an error
	// means that nobody can be asked.
	Confirm func(question string) (bool, error)
	// NewProvider makes providers; nil is all.New.
	NewProvider func(*cluster.Config, all.Options) (providers.Provider, error)
	// Package gives the directory of the Python package on this machine, under
	// the private directory that session.Root names; nil leaves Python alone.
	Package func() (string, error)
	// Progress is told the steps of bootstrap, Step those of the verb.
	Progress func(bootstrap.Event)
	Step     func(number, of int, title string)
	// Quiet is called when what is printed from then on is the outcome.
	Quiet func()
}

// Source says which cluster is meant: a file, else a name, else the current one.
type Source struct {
	File     string // path, http(s) URL or "-"
	Name     string // --cluster, RAY_CLUSTER or a name given
	Override cluster.Override
}

// Cluster is a cluster with its state and provider at hand.
type Cluster struct {
	// Config is the file with what the provider has filled in, where that is
	// known; file is the same as it was written.
	Config   *cluster.Config
	Record   Record
	Provider providers.Provider
	// FromState: nobody named a file for it in this call.
	FromState bool
	// Named: its name or file was given in this call.
	Named bool

	// OnMachine runs commands on machines even where nodes run in containers.
	OnMachine bool

	file *cluster.Config
	dir  dir
	l    *Launcher
}

// IsFile tells whether a verb's first argument is a cluster file rather than
// what the verb takes besides.
func IsFile(arg string) bool {
	if arg == "-" || strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://") {
		return true
	}
	for _, end := range []string{".yaml", ".yml", ".example"} {
		if strings.HasSuffix(arg, end) {
			return true
		}
	}
	return describesCluster(arg)
}

// describesCluster tells whether a file of another name holds a cluster file.
func describesCluster(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	begin, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return false
	}
	has := map[string]bool{}
	for line := range strings.Lines(string(begin)) {
		key, _, _ := strings.Cut(line, ":")
		has[key] = true
	}
	return has["cluster_name"] && has["provider"]
}

// Resolve finds the cluster that a verb's arguments mean, and what is left of
// them: a leading cluster file, else the named or the current cluster.
func (l *Launcher) Resolve(ctx context.Context, args []string, name string) (*Cluster, []string, error) {
	file, rest := Split(args)
	c, err := l.Select(ctx, Source{File: file, Name: name})
	return c, rest, err
}

// Split takes the cluster file, if any, off a verb's arguments.
func Split(args []string) (file string, rest []string) {
	if len(args) > 0 && IsFile(args[0]) {
		return args[0], args[1:]
	}
	return "", args
}

func (l *Launcher) store() store { return store(l.Root) }

// Select finds the cluster that src means.
func (l *Launcher) Select(ctx context.Context, src Source) (*Cluster, error) {
	if src.File != "" {
		cfg, err := l.load(ctx, src)
		if err != nil {
			return nil, err
		}
		return l.open(l.store().at(dirName(cfg)), cfg, false, true)
	}
	d, named, err := l.find(src)
	if err != nil {
		return nil, err
	}
	cfg, err := cluster.Load(d.path("cluster.yaml"))
	if err != nil {
		return nil, fmt.Errorf("what is kept of the cluster cannot be read: %w", err)
	}
	return l.open(d, cfg, true, named)
}

func (l *Launcher) find(src Source) (d dir, named bool, err error) {
	if src.Name != "" {
		d, err = l.store().named(src.Name)
		return d, true, err
	}
	if d, ok := l.store().current(); ok {
		return d, false, nil
	}
	all, err := l.store().list()
	if err != nil {
		return "", false, err
	}
	if len(all) == 0 {
		return "", false, ErrNoCluster
	}
	return "", false, fmt.Errorf("no cluster is the current one; choose one with `ray use NAME` (`ray clusters` lists them) or give a cluster file")
}

// ErrNoCluster is the answer where nothing is remembered and nothing named.
var ErrNoCluster = errors.New("there is no cluster; start one with `ray up FILE`, or give a cluster file")

func (l *Launcher) open(d dir, cfg *cluster.Config, fromState, named bool) (*Cluster, error) {
	r, _ := d.record()
	c := &Cluster{Record: r, FromState: fromState, Named: named, file: cfg, dir: d, l: l}
	return c, c.adopt(c.known())
}

// adopt makes cfg the cluster's, with a provider of it.
func (c *Cluster) adopt(cfg *cluster.Config) error {
	p, err := c.l.provider(cfg, c.dir)
	if err != nil {
		return err
	}
	c.Config, c.Provider = cfg, journaled{p, c.dir.path("journal.jsonl")}
	return nil
}

func (l *Launcher) provider(cfg *cluster.Config, d dir) (providers.Provider, error) {
	open := l.NewProvider
	if open == nil {
		open = all.New
	}
	return open(cfg, all.Options{StateDir: string(d), Ray: l.Ray})
}

// maxDownload bounds a cluster file from the network, in bytes.
const maxDownload = 10 << 20

// Read reads a cluster file from wherever it is.
func (l *Launcher) Read(ctx context.Context, src Source) (*cluster.Config, error) {
	name, data, err := src.File, []byte(nil), error(nil)
	switch {
	case name == "-":
		name = "standard input"
		data, err = io.ReadAll(io.LimitReader(l.In, maxDownload+1))
	case strings.Contains(name, "://"):
		data, err = download(ctx, name)
	default:
		var info os.FileInfo
		if info, err = os.Stat(name); err == nil && info.Size() > maxDownload {
			err = fmt.Errorf("%s has %d bytes; at most %d are read", name, info.Size(), maxDownload)
		}
		if err == nil {
			data, err = os.ReadFile(name)
		}
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("cluster file %s does not exist", name)
	case err != nil:
		return nil, fmt.Errorf("cluster file: %w", err)
	}
	return cluster.ParseWith(name, data, src.Override)
}

func (l *Launcher) load(ctx context.Context, src Source) (*cluster.Config, error) {
	cfg, err := l.Read(ctx, src)
	if err != nil {
		return nil, err
	}
	return absoluteMounts(cfg)
}

func download(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxDownload+1))
}

// absoluteMounts makes the local side of file mounts independent of where the
// next verb is called, and checks that it is there before anything is made.
func absoluteMounts(cfg *cluster.Config) (*cluster.Config, error) {
	mounts := map[string]string{}
	var missing []error
	for remote, local := range cfg.FileMounts {
		abs, err := filepath.Abs(cluster.ExpandHome(local))
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(abs); err != nil {
			missing = append(missing, fmt.Errorf("file_mounts.%s: %w", remote, err))
		}
		mounts[remote] = abs
	}
	if len(missing) > 0 {
		return nil, errors.Join(missing...)
	}
	if len(mounts) == 0 {
		return cfg, nil
	}
	return cfg.WithFileMounts(mounts), nil
}

// Dir is the cluster's state directory.
func (c *Cluster) Dir() string { return string(c.dir) }

// TokenPath is the file that holds the cluster's token.
func (c *Cluster) TokenPath() string { return c.dir.token() }

// Address is the head's host:port, "" if it does not run.
func (c *Cluster) Address() string { return c.Record.Address }

// Dashboard is the dashboard's host:port, "" if it is not known.
func (c *Cluster) Dashboard() string { return c.Record.Dashboard }
