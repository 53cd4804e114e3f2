package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
	"ray/providers/all"
	"ray/providers/fake"
)

const demo = `
cluster_name: demo
provider: {type: fake}
available_node_types:
  head: {resources: {CPU: 2}}
  cpu: {resources: {CPU: 4}}
head_node_type: head
setup_commands: [set it up]
`

// bench is a launcher over a fake provider whose hosts behave like machines.
type bench struct {
	*Launcher
	fake *fake.Provider
	out  bytes.Buffer
	file string
	asks []string
	no   bool // answer questions with no

	mu      sync.Mutex
	running map[string]bool // hosts on which a head runs
	ran     []string        // the cluster file's commands
	fail    string          // command that fails
}

func newBench(t *testing.T, text string) *bench {
	t.Helper()
	dir := t.TempDir()
	ray := filepath.Join(dir, "ray")
	if err := os.WriteFile(ray, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := &bench{fake: fake.New("demo"), file: filepath.Join(dir, "demo.yaml"), running: map[string]bool{}}
	b.fake.OnRun = b.run
	b.write(t, text)
	b.Launcher = &Launcher{
		Root: filepath.Join(dir, "state"), Ray: ray, Out: &b.out, ErrOut: &b.out,
		NewProvider: func(*cluster.Config, all.Options) (providers.Provider, error) { return b.fake, nil },
		Confirm: func(q string) (bool, error) {
			b.asks = append(b.asks, q)
			return !b.no, nil
		},
	}
	return b
}

func (b *bench) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run is what a host does with a command.
func (b *bench) run(_ context.Context, id string, c sshx.Command) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != "" && strings.Contains(c.Line, b.fail) {
		return &sshx.ExitError{Code: 9}
	}
	switch {
	case strings.HasPrefix(c.Line, "uname"):
		arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
		_, _ = fmt.Fprintf(c.Stdout, "%s %s\n", strings.ToUpper(runtime.GOOS[:1])+runtime.GOOS[1:], arch)
	case strings.Contains(c.Line, "/session.json"):
		if b.running[id] {
			_, _ = fmt.Fprint(c.Stdout, `{"pid": 4, "start_ticks": 5, "boot_id": "b", "address": "10.9.9.9:6379", "dashboard": "127.0.0.1:8265"}`)
		}
	case strings.Contains(c.Line, "boot_id"):
		_, _ = fmt.Fprintln(c.Stdout, "b\n4 (a) name) S"+strings.Repeat(" 0", 18)+" 5 0")
	case strings.HasPrefix(c.Line, "set it up") || strings.Contains(c.Line, "ray st"):
		b.ran = append(b.ran, c.Line)
		if strings.Contains(c.Line, "ray start") {
			b.running[id] = true
		}
	}
	return nil
}

func (b *bench) cluster(t *testing.T) *Cluster {
	t.Helper()
	c, err := b.Select(t.Context(), Source{File: b.file})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bench) up(t *testing.T) *Cluster {
	t.Helper()
	c := b.cluster(t)
	if err := c.Up(t.Context(), UpOptions{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bench) creates() int {
	n := 0
	for _, c := range b.fake.Calls() {
		if strings.HasPrefix(c, "create") {
			n++
		}
	}
	return n
}

func TestUpTwiceThenDown(t *testing.T) {
	b := newBench(t, demo)
	c := b.up(t)
	if c.Address() != "10.0.0.1:6379" {
		t.Errorf("address %q: want the machine's own with the port that was announced", c.Address())
	}
	if info, err := os.Stat(c.TokenPath()); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 64 {
		t.Errorf("token: %v, %v", info, err)
	}
	ran := len(b.ran)
	b.out.Reset()
	b.up(t)
	if b.creates() != 1 || len(b.ran) != ran || !strings.Contains(b.out.String(), "Nothing to do") {
		t.Errorf("the second up did something: %q, %q, %s", b.fake.Calls(), b.ran[ran:], b.out.String())
	}
	entries, err := readJournal(c.dir.path("journal.jsonl"))
	if err != nil || len(entries) != 2 || entries[0].Phase != "intent" || entries[1].Phase != "outcome" || len(entries[1].IDs) != 1 {
		t.Errorf("journal %+v, %v", entries, err)
	}
	current, err := b.Select(t.Context(), Source{})
	if err != nil || !current.FromState || current.Config.Name != "demo" {
		t.Fatalf("current cluster %+v, %v", current, err)
	}
	if err := current.Down(t.Context(), DownOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Select(t.Context(), Source{}); !errors.Is(err, ErrNoCluster) {
		t.Errorf("after down: %v", err)
	}
	b.out.Reset()
	if err := b.cluster(t).Down(t.Context(), DownOptions{}); err != nil || !strings.Contains(b.out.String(), "Nothing to do") {
		t.Errorf("down of nothing: %v, %s", err, b.out.String())
	}
}

// The head ends first, because it would launch workers anew.
func TestDownEndsTheHeadFirst(t *testing.T) {
	b := newBench(t, demo)
	c := b.up(t)
	if _, err := b.fake.Create(t.Context(), providers.CreateRequest{Token: "w", Type: "cpu", Kind: providers.Worker, Count: 3}); err != nil {
		t.Fatal(err)
	}
	if err := c.Down(t.Context(), DownOptions{}); err != nil {
		t.Fatal(err)
	}
	var ends []string
	for _, call := range b.fake.Calls() {
		if strings.HasPrefix(call, "terminate") {
			ends = append(ends, call)
		}
	}
	if !slices.Equal(ends, []string{"terminate 1", "terminate 3"}) {
		t.Errorf("ended %q", ends)
	}
	if len(b.asks) != 1 || !strings.Contains(b.asks[0], "demo") || !strings.Contains(b.asks[0], "3 worker") {
		t.Errorf("asked %q", b.asks)
	}
}

func TestDownDeclined(t *testing.T) {
	b := newBench(t, demo)
	c := b.up(t)
	b.no = true
	if err := c.Down(t.Context(), DownOptions{}); !errors.Is(err, errDeclined) {
		t.Errorf("got %v", err)
	}
	if head, _, _ := c.live(t.Context()); head == nil {
		t.Error("the head is gone though the answer was no")
	}
}

// A provider that refuses leaves nothing behind that another up stumbles over.
func TestCreateFails(t *testing.T) {
	b := newBench(t, demo)
	b.fake.FailNext("create", &providers.Error{Cause: providers.Capacity, Op: "create", Code: "NoneLeft"})
	if err := b.cluster(t).Up(t.Context(), UpOptions{}); providers.CauseOf(err) != providers.Capacity {
		t.Fatalf("got %v", err)
	}
	b.up(t)
	if _, workers, err := b.cluster(t).live(t.Context()); err != nil || len(workers) != 0 {
		t.Errorf("workers %v, %v", workers, err)
	}
}

// A request whose answer was never seen is made again under its own token.
func TestUnansweredCreateIsRepeated(t *testing.T) {
	b := newBench(t, demo)
	c := b.cluster(t)
	if err := os.MkdirAll(c.Dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	j := c.Provider.(journaled)
	if err := j.write(Entry{Call: "x", Phase: "intent", Op: "create", Token: "seen", Kind: providers.Head, Type: "head", Count: 1}); err != nil {
		t.Fatal(err)
	}
	b.up(t)
	head, _, err := c.live(t.Context())
	if err != nil || head.Tags[providers.TagRequest] != "seen" {
		t.Errorf("head %+v, %v", head, err)
	}
}

func TestSetupFailsAndIsRepaired(t *testing.T) {
	b := newBench(t, demo)
	b.fail = "set it up"
	err := b.cluster(t).Up(t.Context(), UpOptions{})
	said := b.out.String()
	if err == nil || !strings.Contains(err.Error(), "set it up") || !strings.Contains(said, "1 machine(s)") || !strings.Contains(said, "ray down") {
		t.Fatalf("got %v\n%s", err, said)
	}
	b.fail = ""
	b.up(t)
	if b.creates() != 1 {
		t.Errorf("the machine was made twice: %q", b.fake.Calls())
	}
}

// What concerns the workers alone is the head's to change: it and they go on.
func TestChangeForWorkers(t *testing.T) {
	b := newBench(t, demo)
	b.up(t)
	if _, err := b.fake.Create(t.Context(), providers.CreateRequest{Token: "w", Type: "cpu", Kind: providers.Worker, Count: 1}); err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(demo, "CPU: 4}", "CPU: 4}, max_workers: 7", 1) + "worker_setup_commands: [for workers]\n"
	b.write(t, changed)
	plan, err := b.cluster(t).Plan(t.Context())
	if err != nil || len(plan.Changes) != 1 || plan.Changes[0].Action != "update" || plan.Changes[0].Disturbs != "" {
		t.Errorf("plan %+v, %v", plan.Changes, err)
	}
	asks := len(b.asks)
	c := b.up(t)
	head, workers, err := c.live(t.Context())
	if err != nil || head == nil || len(workers) != 1 || b.creates() != 2 || len(b.asks) != asks {
		t.Errorf("head %v, workers %v, %v, calls %q, asked %q", head, workers, err, b.fake.Calls(), b.asks[asks:])
	}
	host, err := b.fake.Host(t.Context(), head.ID)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := host.ReadFile(t.Context(), cluster.BootstrapPath); err != nil || !strings.Contains(string(text), "for workers") {
		t.Errorf("the head's copy was not replaced: %v\n%s", err, text)
	}
	if plan, err := b.cluster(t).Plan(t.Context()); err != nil || len(plan.Changes) != 0 {
		t.Errorf("afterwards: %+v, %v", plan.Changes, err)
	}
}

func TestChangedFile(t *testing.T) {
	b := newBench(t, demo)
	b.up(t)
	if _, err := b.fake.Create(t.Context(), providers.CreateRequest{Token: "w", Type: "cpu", Kind: providers.Worker, Count: 1}); err != nil {
		t.Fatal(err)
	}
	b.write(t, strings.Replace(demo, "set it up", "set it up again", 1))
	b.no = true
	if err := b.cluster(t).Up(t.Context(), UpOptions{}); !errors.Is(err, errDeclined) {
		t.Fatalf("got %v", err)
	}
	b.no = false
	c := b.up(t)
	if head, workers, err := c.live(t.Context()); err != nil || head == nil || len(workers) != 0 || b.creates() != 2 {
		t.Errorf("head %v, workers %v, %v, calls %q", head, workers, err, b.fake.Calls())
	}
	asks := len(b.asks)
	b.write(t, strings.Replace(demo, "head: {resources: {CPU: 2}}", "head: {resources: {CPU: 2}, node_config: {a: b}}", 1))
	c = b.up(t)
	if len(b.asks) != asks+1 || !strings.Contains(b.asks[asks], "Replace") {
		t.Errorf("asked %q", b.asks[asks:])
	}
	if head, _, _ := c.live(t.Context()); head == nil || b.creates() != 3 {
		t.Errorf("head %v after a change of its machine; calls %q", head, b.fake.Calls())
	}
}

// What runs again: the start commands alone with RestartOnly, the set-up alone
// with NoRestart, nothing if nothing has changed.
func TestRestartOptions(t *testing.T) {
	const start = "ray stop, ray start"
	b := newBench(t, demo+"head_start_ray_commands: [ray stop, 'ray start --head']\n")
	for _, c := range []struct {
		setup string
		o     UpOptions
		want  string
	}{
		{"set it up", UpOptions{}, "set it up, " + start},
		{"set it up", UpOptions{}, ""},
		{"set it up", UpOptions{NoRestart: true}, ""},
		{"set it up", UpOptions{RestartOnly: true}, start},
		{"set it up # again", UpOptions{NoRestart: true}, "set it up # again"},
		{"set it up # again", UpOptions{}, ""},
		{"set it up # more", UpOptions{RestartOnly: true}, start},
		{"set it up # more", UpOptions{}, "set it up # more, " + start}, // a restart alone has set nothing up
	} {
		b.write(t, strings.Replace(demo, "set it up", "'"+c.setup+"'", 1)+"head_start_ray_commands: [ray stop, 'ray start --head']\n")
		b.ran = nil
		if err := b.cluster(t).Up(t.Context(), c.o); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(strings.Join(b.ran, ", "), " --head", ""); got != c.want {
			t.Errorf("%q with %+v ran %q, want %q", c.setup, c.o, got, c.want)
		}
	}
}

// A head whose processes died is set up again on the machine that is there.
func TestDeadHeadIsRestarted(t *testing.T) {
	b := newBench(t, demo)
	b.up(t)
	clear(b.running)
	b.up(t)
	if b.creates() != 1 || len(b.running) != 1 {
		t.Errorf("calls %q, running %v", b.fake.Calls(), b.running)
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	b := newBench(t, demo)
	c := b.cluster(t)
	unlock, err := c.dir.lock("demo", "up")
	if err != nil {
		t.Fatal(err)
	}
	err = b.cluster(t).Up(t.Context(), UpOptions{})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Holder.PID != os.Getpid() || !strings.Contains(err.Error(), "ray up") {
		t.Errorf("got %v", err)
	}
	unlock()
	b.up(t)
}

func TestSelect(t *testing.T) {
	b := newBench(t, demo)
	b.up(t)
	b.write(t, strings.Replace(demo, "cluster_name: demo", "cluster_name: other", 1))
	c := b.up(t)
	if err := b.OnlyOne(&Cluster{FromState: true}); err == nil || !strings.Contains(err.Error(), "demo") {
		t.Errorf("-y without a name: %v", err)
	}
	if err := b.OnlyOne(&Cluster{Named: true}); err != nil {
		t.Errorf("-y with a name: %v", err)
	}
	if _, err := b.Select(t.Context(), Source{Name: "demp"}); err == nil || !strings.Contains(err.Error(), "did you mean demo") {
		t.Errorf("wrong name: %v", err)
	}
	if err := b.Use("demo"); err != nil {
		t.Fatal(err)
	}
	list, err := b.Clusters(t.Context())
	if err != nil || len(list) != 2 || !list[0].Current || list[1].Current || list[1].Name != "other" {
		t.Errorf("clusters %+v, %v", list, err)
	}
	if got, err := b.Select(t.Context(), Source{}); err != nil || got.Config.Name != "demo" {
		t.Errorf("current: %v, %v", got, err)
	}
	if err := c.Down(t.Context(), DownOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Nothing is made when the file has mistakes, or its mounts are not there.
func TestBadFileMakesNothing(t *testing.T) {
	b := newBench(t, "cluster_name: demo\nprovider: {type: proces}\nfile_mount: {}\n")
	_, err := b.Select(t.Context(), Source{File: b.file})
	var ps cluster.Problems
	if !errors.As(err, &ps) || len(ps) != 2 {
		t.Errorf("got %v", err)
	}
	b.write(t, demo+"file_mounts: {~/x: ./nothing-here}\n")
	if _, err := b.Select(t.Context(), Source{File: b.file}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing mount: %v", err)
	}
	if _, err := os.Stat(b.Root); !os.IsNotExist(err) {
		t.Error("state was made for a cluster that cannot be")
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		args, file string
	}{
		{"a.yaml x", "a.yaml"}, {"x.py", ""}, {"- x", "-"}, {"http://h/a x", "http://h/a"}, {"cluster.yaml.example j.py", "cluster.yaml.example"}, {"a.yml", "a.yml"},
	} {
		if file, _ := Split(strings.Fields(c.args)); file != c.file {
			t.Errorf("%q: file %q, want %q", c.args, file, c.file)
		}
	}
}

func TestVerbsWithoutHead(t *testing.T) {
	b := newBench(t, demo)
	c := b.cluster(t)
	if err := c.Exec(t.Context(), "x", nil, Streams{}); !errors.Is(err, ErrNoHead) {
		t.Errorf("exec: %v", err)
	}
	if _, err := c.HeadIP(t.Context()); !errors.Is(err, ErrNoHead) {
		t.Errorf("get-head-ip: %v", err)
	}
	if err := c.Submit(t.Context(), Script{Path: "/nonexistent.py"}, Streams{}); err == nil || !strings.Contains(err.Error(), "nothing was run") {
		t.Errorf("submit: %v", err)
	}
}

func TestSubmit(t *testing.T) {
	b := newBench(t, demo)
	c := b.up(t)
	script := filepath.Join(t.TempDir(), "job.py")
	if err := os.WriteFile(script, []byte("pass"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(t.Context(), Script{Path: script, Args: []string{"a b"}, Env: map[string]string{"K": "v"}}, Streams{}); err != nil {
		t.Fatal(err)
	}
	head, _, _ := c.live(t.Context())
	h, _ := b.fake.Host(t.Context(), head.ID)
	host := h.(*sshx.Fake)
	last := host.Commands[len(host.Commands)-1]
	if last.Line != "exec python3 ~/job.py 'a b'" || last.Env["K"] != "v" || last.Env["RAY_ADDRESS"] != "10.9.9.9:6379" {
		t.Errorf("ran %q with %v", last.Line, last.Env)
	}
	if string(host.Files["~/job.py"]) != "pass" {
		t.Error("the script was not copied")
	}
}
