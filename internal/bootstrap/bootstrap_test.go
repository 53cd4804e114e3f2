package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
	"ray/providers/fake"
)

const file = `
cluster_name: demo
provider: {type: fake}
available_node_types:
  head: {resources: {CPU: 2}}
  cpu: {resources: {CPU: 4}, labels: {a: b}, min_workers: 1}
head_node_type: head
initialization_commands: [init it]
setup_commands: [set it up]
head_start_ray_commands: [ray start --head]
worker_start_ray_commands: [ray start --address=$RAY_HEAD_ADDRESS]
`

// machine is a fake host that answers what the steps ask.
func machine(t *testing.T) *sshx.Fake {
	t.Helper()
	return &sshx.Fake{Name: "m1", OnRun: func(_ context.Context, c sshx.Command) error {
		if strings.HasPrefix(c.Line, "uname") {
			arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
			_, _ = fmt.Fprintf(c.Stdout, "%s %s\n", strings.ToUpper(runtime.GOOS[:1])+runtime.GOOS[1:], arch)
		}
		return nil
	}}
}

func node(t *testing.T, host sshx.Host, kind, nodeType string) Node {
	t.Helper()
	cfg, err := cluster.Parse("demo.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"ray", "token"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content of "+name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return Node{
		Config: cfg, Host: host, Instance: providers.Instance{ID: "i-1", Type: nodeType, Kind: kind},
		TokenFile: filepath.Join(dir, "token"), Ray: filepath.Join(dir, "ray"),
	}
}

func commands(h *sshx.Fake) []string {
	var out []string
	for _, l := range h.Lines() {
		if l == "init it" || l == "set it up" || strings.HasPrefix(l, "ray ") {
			out = append(out, l)
		}
	}
	return out
}

func TestWorkerFromNothing(t *testing.T) {
	h := machine(t)
	n := node(t, h, providers.Worker, "cpu")
	n.HeadAddress = "10.0.0.1:6379"
	var steps []string
	if err := Start(t.Context(), n, func(e Event) {
		if e.Phase == Begun {
			steps = append(steps, e.Step)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if got, want := commands(h), []string{"init it", "set it up", "ray start --address=$RAY_HEAD_ADDRESS"}; !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
	if len(steps) != len(Steps(&n)) {
		t.Errorf("steps %q", steps)
	}
	env := h.Commands[len(h.Commands)-1].Env
	for k, v := range map[string]string{
		"RAY_HEAD_IP": "10.0.0.1", "RAY_HEAD_ADDRESS": "10.0.0.1:6379", "RAY_NODE_TYPE_NAME": "cpu", "RAY_CLOUD_INSTANCE_ID": "i-1",
		"RAY_OVERRIDE_RESOURCES": `{"CPU":4}`, "RAY_OVERRIDE_LABELS": `{"a":"b"}`, "RAY_AUTH_TOKEN_PATH": "~/.ray/demo-token",
	} {
		if env[k] != v {
			t.Errorf("%s is %q, want %q", k, env[k], v)
		}
	}
	if string(h.Files["~/.ray/demo-token"]) != "content of token" {
		t.Error("the token is not there")
	}
	for _, c := range h.Commands {
		if strings.Contains(c.Line, "content of token") || slices.Contains([]string{c.Env["RAY_AUTH_TOKEN"]}, "content of token") {
			t.Errorf("the token is on a command line: %q", c.Line)
		}
	}
}

// The second run finds everything as it should be and only starts the node.
func TestSecondRunSkips(t *testing.T) {
	h := machine(t)
	n := node(t, h, providers.Head, "head")
	for range 2 {
		if err := Start(t.Context(), n, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"init it", "set it up", "ray start --head", "ray start --head"}
	if got := commands(h); !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
	if fit, err := Compare(t.Context(), n); err != nil || fit != Fits {
		t.Errorf("fits: %v, %v", fit, err)
	}
	workers := n
	workers.Config = n.Config.Edit(func(doc map[string]any) { doc["worker_setup_commands"] = []any{"another"} })
	if fit, err := Compare(t.Context(), workers); err != nil || fit != HeadFits {
		t.Errorf("a change for workers: %v, %v", fit, err)
	}
	n.NoRestart = true
	if err := Start(t.Context(), n, nil); err != nil {
		t.Fatal(err)
	}
	if got := commands(h); len(got) != len(want) {
		t.Errorf("with NoRestart it ran %q", got[len(want):])
	}
}

// A failing command ends the run; the error has the command and what it said.
func TestCommandFails(t *testing.T) {
	h := machine(t)
	answer := h.OnRun
	h.OnRun = func(ctx context.Context, c sshx.Command) error {
		if c.Line != "set it up" {
			return answer(ctx, c)
		}
		for i := range 30 {
			_, _ = fmt.Fprintf(c.Stdout, "line %d\n", i)
		}
		return &sshx.ExitError{Code: 3}
	}
	err := Start(t.Context(), node(t, h, providers.Head, "head"), nil)
	var step *StepError
	if !errors.As(err, &step) {
		t.Fatalf("got %v", err)
	}
	if step.Command != "set it up" || len(step.Tail) != 20 || step.Tail[19] != "line 29" || sshx.ExitCode(err) != 3 {
		t.Errorf("got %+v", step)
	}
	if _, marked := h.Files[(&Run{Node: node(t, h, providers.Head, "head")}).marker()]; marked {
		t.Error("the host is marked as set up")
	}
}

func TestWaiting(t *testing.T) {
	h := machine(t)
	answer, tries := h.OnRun, 0
	h.OnRun = func(ctx context.Context, c sshx.Command) error {
		if c.Line == "true" {
			if tries++; tries == 1 {
				return &sshx.ConnError{Host: "m1", Reason: sshx.Refused}
			}
		}
		return answer(ctx, c)
	}
	if err := Start(t.Context(), node(t, h, providers.Head, "head"), nil); err != nil || tries != 2 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	h.OnRun = func(context.Context, sshx.Command) error {
		return &sshx.ConnError{Host: "m1", Reason: sshx.KeyBad, Hint: "look"}
	}
	begun := time.Now()
	if err := Start(t.Context(), node(t, h, providers.Head, "head"), nil); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("a changed host key was waited for: %v", err)
	}
}

func TestWrongPlatform(t *testing.T) {
	for uname, ok := range map[string]bool{"Linux mips": false, "Darwin x86_64": runtime.GOOS == "darwin", "": false} {
		if err := samePlatform(uname); (err == nil) != ok {
			t.Errorf("%q: %v", uname, err)
		}
	}
}

// Nodes that share a machine offer what they declare, and a small arena unless
// they ask for another.
func TestSharedMachineResources(t *testing.T) {
	n := node(t, machine(t), providers.Head, "head")
	n.Traits.Divided = true
	if got := Resources(&n); got != `{"CPU":2,"GPU":0,"memory":0,"object_store_memory":268435456}` {
		t.Errorf("resources %s", got)
	}
}

func TestTagsTellTheStatus(t *testing.T) {
	p := fake.New("demo")
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "t", Type: "head", Kind: providers.Head, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	n := node(t, machine(t), providers.Head, "head")
	n.Instance, n.Tags = made[0], p
	if err := Start(t.Context(), n, nil); err != nil {
		t.Fatal(err)
	}
	list, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	contents, _, err := n.Config.ContentsHashes()
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]string{
		providers.TagStatus: "up-to-date", providers.TagRuntime: n.Config.RuntimeHash(true, "head", contents), providers.TagContents: contents,
	} {
		if got := list[0].Tags[tag]; got != want {
			t.Errorf("%s is %q, want %q", tag, got, want)
		}
	}
	n.Host = &sshx.Fake{Name: "m2", OnRun: func(context.Context, sshx.Command) error { return &sshx.ExitError{Code: 1} }}
	if err := Start(t.Context(), n, nil); err == nil {
		t.Fatal("it did not fail")
	}
	if list, err = p.List(t.Context()); err != nil || list[0].Tags[providers.TagStatus] != "update-failed" {
		t.Error(list, err)
	}
}

// Commands run as in a login, unless plain shells were asked for.
func TestShells(t *testing.T) {
	for _, plain := range []bool{false, true} {
		h := machine(t)
		n := node(t, h, providers.Head, "head")
		n.PlainShells = plain
		if err := Start(t.Context(), n, nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range h.Commands {
			if slices.Contains(commands(h), c.Line) && c.Login == plain {
				t.Errorf("plain shells %v: %q ran with Login %v", plain, c.Line, c.Login)
			}
		}
	}
}
