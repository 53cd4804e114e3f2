package bootstrap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"ray/internal/cluster"
	"ray/internal/session"
	"ray/internal/spec"
	"ray/internal/sshx"
	"ray/providers"
)

const (
	// defaultWait is how long a host may take to be reachable.
	defaultWait = 15 * time.Minute
	// authGrace is how long a host may refuse our key: one that starts answers
	// before its set-up has put the key there, but a wrong key never helps.
	authGrace = 30 * time.Second
	retry     = time.Second
	// defaultArena is the object store of a node that shares its machine with
	// others, in bytes: a share of all memory, the usual size, would be
	// counted once for each of them.
	defaultArena = 256 << 20
	remoteRay    = "~/.ray/bin/ray"
	tailLines    = 20
)

// await asks the host until it answers.
func (r *Run) await(ctx context.Context) error {
	limit := r.Wait
	if limit == 0 {
		limit = defaultWait
	}
	begun := time.Now()
	var refused time.Time // when the key was first refused
	for {
		try, cancel := context.WithTimeout(ctx, 20*time.Second)
		said := &tail{}
		err := r.Host.Run(try, sshx.Command{Line: "true", Stdout: said, Stderr: said})
		cancel()
		var conn *sshx.ConnError
		if errors.As(err, &conn) && conn.Reason == sshx.AuthBad && refused.IsZero() {
			refused = time.Now()
		}
		switch waited := time.Since(begun); {
		case err == nil:
			return r.lock(ctx)
		case ctx.Err() != nil:
			return ctx.Err()
		case exited(err): // it let us in, and answers otherwise
			said.flush()
			return &StepError{Command: "true", Tail: said.last(), Err: err}
		case !errors.As(err, &conn) || !conn.Passing(), waited > limit, conn.Reason == sshx.AuthBad && time.Since(refused) > authGrace:
			return fmt.Errorf("gave up after %s: %w", waited.Round(time.Second), err)
		}
		r.report(Output, err.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}

// exited tells whether a command ran and failed.
func exited(err error) bool {
	var exit *sshx.ExitError
	return errors.As(err, &exit)
}

func (r *Run) onThisMachine(context.Context) string {
	if r.Traits.SharedMachine {
		return "the node is on this machine"
	}
	return ""
}

// program brings the binary to the host unless the same one is there.
func (r *Run) program(ctx context.Context) error {
	f, err := os.Open(r.Ray)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	out, err := sshx.Output(ctx, r.Host, "uname -sm; sha256sum ~/.ray/bin/ray 2>/dev/null || true")
	if err != nil {
		return err
	}
	system, have, _ := strings.Cut(out, "\n")
	if err := samePlatform(system); err != nil {
		return err
	}
	if strings.HasPrefix(have, sum) {
		return nil
	}
	// Beside its place first: the old one may be running.
	if err := r.Host.Upload(ctx, r.Ray, remoteRay+".new", sshx.Filter{}); err != nil {
		return err
	}
	_, err = sshx.Output(ctx, r.Host, "chmod 755 ~/.ray/bin/ray.new && mv -f ~/.ray/bin/ray.new ~/.ray/bin/ray")
	return err
}

var machines = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

// samePlatform checks the host's `uname -sm` against this build.
func samePlatform(uname string) error {
	system, machine, _ := strings.Cut(uname, " ")
	if strings.ToLower(system) == runtime.GOOS && machines[machine] == runtime.GOARCH {
		return nil
	}
	return fmt.Errorf("not supported yet: the host is %s, and this program is built for %s/%s only; run it from a machine like the host", uname, runtime.GOOS, runtime.GOARCH)
}

func remoteToken(n *Node) string {
	if n.Traits.SharedMachine {
		return n.TokenFile
	}
	return "~/.ray/" + n.Config.Name + "-token"
}

// token gives the host the cluster's token. A head that has one already keeps
// it: other launchers and the nodes have the same.
func (r *Run) token(ctx context.Context) error {
	data, err := os.ReadFile(r.TokenFile)
	if err != nil {
		return err
	}
	if r.Head() {
		have, err := r.Host.ReadFile(ctx, remoteToken(&r.Node))
		if err == nil && len(have) > 0 {
			return session.WriteFile(r.TokenFile, have)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return r.Host.WriteFile(ctx, remoteToken(&r.Node), data, 0o600)
}

func (r *Run) marker() string {
	return "~/.ray/runtime-" + strings.TrimPrefix(providers.InstanceID(r.Config.Name, r.Instance.ID, 0), "i-")
}

// compare tells whether files and set-up are up to date.
func (r *Run) compare(ctx context.Context) error {
	mounts, all, err := r.Config.ContentsHashes()
	if err != nil {
		return err
	}
	r.hash, r.contents = r.Config.RuntimeHash(r.Head(), r.Instance.Type, mounts), all
	have, err := r.Host.ReadFile(ctx, r.marker())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	noted, head, _ := strings.Cut(strings.TrimSpace(string(have)), "\n")
	r.same = noted == r.hash
	if r.Head() {
		r.headHash = r.Config.HeadHash(mounts)
		r.sameHead = head == r.headHash
	}
	return nil
}

// note keeps what the host was set up by.
func (r *Run) note(ctx context.Context) error {
	return r.Host.WriteFile(ctx, r.marker(), []byte(r.hash+"\n"+r.headHash+"\n"), 0o600)
}

// files copies the mounts unless they are there, and always the few files that
// the launcher makes.
func (r *Run) files(ctx context.Context) error {
	if !r.same && !r.sameHead {
		if err := r.mounts(ctx); err != nil {
			return err
		}
	}
	// The cluster file is last: a head that reads it again finds the mounts.
	for _, path := range slices.Sorted(maps.Keys(r.Files)) {
		if err := r.Host.WriteFile(ctx, path, r.Files[path], 0o600); err != nil {
			return err
		}
	}
	if r.sameHead && !r.same && !r.RestartOnly {
		return r.note(ctx)
	}
	return nil
}

// mounts copies what the file mounts.
func (r *Run) mounts(ctx context.Context) error {
	filter := sshx.Filter{Exclude: r.Config.RsyncExclude, Ignore: r.Config.RsyncFilter}
	for _, remote := range slices.Sorted(maps.Keys(r.Config.FileMounts)) {
		local := cluster.ExpandHome(r.Config.FileMounts[remote])
		r.report(Command, local+" → "+remote)
		if err := r.Host.Upload(ctx, local, remote, filter); err != nil {
			return err
		}
	}
	if r.Head() {
		return nil
	}
	for _, path := range r.Config.SyncedFiles {
		local := cluster.ExpandHome(path)
		if _, err := os.Stat(local); err != nil {
			continue // may be missing, as documented
		}
		if err := r.Host.Upload(ctx, local, path, filter); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) isSetUp(context.Context) string {
	switch {
	case r.RestartOnly:
		return "only the restart was asked for"
	case r.same, r.sameHead:
		return "unchanged"
	}
	return ""
}

func (r *Run) initialize(ctx context.Context) error {
	return r.commands(ctx, r.Config.NodeTypes[r.Instance.Type].InitCommands)
}

// setup runs the set-up commands and notes that they ran.
func (r *Run) setup(ctx context.Context) error {
	list := r.Config.HeadSetup
	if !r.Head() {
		list = r.Config.NodeTypes[r.Instance.Type].WorkerSetup
	}
	if err := r.commands(ctx, list); err != nil {
		return err
	}
	return r.note(ctx)
}

func (r *Run) keepRunning(context.Context) string {
	if r.NoRestart {
		return "the node runs, and a restart was not asked for"
	}
	return ""
}

func (r *Run) start(ctx context.Context) error {
	if r.BeforeStart != nil {
		if err := r.BeforeStart(ctx); err != nil {
			return err
		}
	}
	if r.Head() {
		return r.commands(ctx, r.Config.HeadStart)
	}
	return r.commands(ctx, r.Config.WorkerStart)
}

// commands runs a list; the first failure ends it.
func (r *Run) commands(ctx context.Context, list []string) error {
	for i, line := range list {
		r.report(Command, fmt.Sprintf("(%d/%d) %s", i+1, len(list), line))
		out := &tail{each: func(s string) { r.report(Output, s) }}
		err := r.Host.Run(ctx, sshx.Command{
			Line: line, Env: Env(&r.Node), Stdout: out, Stderr: out, Login: !r.Traits.SharedMachine && !r.PlainShells,
		})
		out.flush()
		if err != nil {
			return &StepError{Command: line, Tail: out.last(), Err: err}
		}
	}
	return nil
}

// Resources is the JSON of the node type's declared resources, "" if it
// declares none and the node is to look for itself.
func Resources(n *Node) string {
	res := n.Config.NodeTypes[n.Instance.Type].Resources.Clone()
	if len(res) == 0 {
		return ""
	}
	if n.Traits.Divided {
		// What the machine has is not this node's: it offers what is declared.
		for name, amount := range map[string]spec.Fixed{
			spec.CPU: 0, spec.GPU: 0, spec.Memory: 0, spec.ObjectStoreMemory: spec.ToFixed(defaultArena),
		} {
			if _, given := res[name]; !given {
				res[name] = amount
			}
		}
	}
	data, err := json.Marshal(res)
	if err != nil {
		return ""
	}
	return string(data)
}

func labels(n *Node) string {
	l := n.Config.NodeTypes[n.Instance.Type].Labels
	if len(l) == 0 {
		return ""
	}
	data, err := json.Marshal(l)
	if err != nil {
		return ""
	}
	return string(data)
}

// Fit is how well a host fits the cluster file.
type Fit int

// Degrees of it.
const (
	Stale    Fit = iota // files or set-up are others now
	HeadFits            // what has changed concerns the workers alone
	Fits
)

// Compare tells how far the host has the files and the set-up that the cluster
// file asks for now.
func Compare(ctx context.Context, n Node) (Fit, error) {
	r := &Run{Node: n, report: func(Phase, string) {}}
	if runs, err := ContainerRuns(ctx, &n); err != nil || !runs {
		return Stale, err
	}
	r.Host = Inside(&n)
	err := r.compare(ctx)
	switch {
	case err != nil:
		return Stale, err
	case r.same:
		return Fits, nil
	case r.sameHead:
		return HeadFits, nil
	}
	return Stale, nil
}
