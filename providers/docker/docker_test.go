package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/internal/sshx/podmantest"
	"ray/providers"
	"ray/providers/providertest"
)

// state writes the file that the launcher would keep, and gives its directory.
func state(t *testing.T, e podmantest.Engine, name string) (dir string, cfg *cluster.Config) {
	t.Helper()
	dir = t.TempDir()
	text := fmt.Sprintf(`
cluster_name: %s
provider: {type: docker, use_podman: %v, network: host, image: %q, run_options: ["%s"]}
head_node_type: head
available_node_types:
  head: {resources: {CPU: 1}, node_config: {}}
  cpu: {resources: {CPU: 1}, node_config: {run_options: ["-e OWN=yes"]}}
max_workers: 2
`, name, !e.Docker, e.Image, strings.Join(e.Options, `", "`))
	if err := os.WriteFile(filepath.Join(dir, "cluster.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := cluster.Load(filepath.Join(dir, "cluster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, cfg
}

func TestSuite(t *testing.T) { podmantest.Each(t, testSuite) }

func testSuite(t *testing.T, e podmantest.Engine) {
	dirs, n := map[string]string{}, 0
	providertest.Run(t, providertest.Case{
		HeadType: "head", WorkerType: "cpu", Commands: true,
		New: func(t *testing.T, reopen bool) providers.Provider {
			if !reopen {
				n++
				dirs[t.Name()], _ = state(t, e, fmt.Sprintf("suite%d", n))
			}
			p, err := fromState(dirs[t.Name()])
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
	})
}

// What the head's container does: everything through the agent.
func TestAgent(t *testing.T) { podmantest.Each(t, testAgent) }

func testAgent(t *testing.T, e podmantest.Engine) {
	dir, cfg := state(t, e, "agent")
	p, err := local(Options{Dir: dir, Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{dir: dir, secret: "s"}
	socket := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := listen(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen(ctx, socket); err == nil {
		t.Error("a second agent serves at the same socket")
	}
	a.wg.Go(func() { a.accept(ctx, l) })
	defer func() { cancel(); _ = l.Close(); a.wg.Wait() }()

	r := &remote{path: filepath.Join(socket, "sock"), secret: "s", cluster: "agent"}
	made, err := r.Create(ctx, providers.CreateRequest{Token: "t", Type: "cpu", Kind: providers.Worker, Count: 1})
	if err != nil || len(made) != 1 {
		t.Fatal(made, err)
	}
	id := made[0].ID
	if seen, err := p.List(ctx); err != nil || len(seen) != 1 || seen[0].ID != id {
		t.Errorf("the machine sees %v %v", seen, err)
	}
	host, err := r.Host(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut strings.Builder
	err = host.Run(ctx, sshx.Command{Line: `cat; echo "$OWN $A" >&2; exit 3`, Env: map[string]string{"A": "b c"}, Stdin: strings.NewReader("in"), Stdout: &out, Stderr: &errOut})
	if sshx.ExitCode(err) != 3 || out.String() != "in" || errOut.String() != "yes b c\n" {
		t.Errorf("%v %q %q", err, out.String(), errOut.String())
	}
	big := strings.Repeat("0123456789", 100_000)
	if err := host.WriteFile(ctx, "~/big", []byte(big), 0o600); err != nil {
		t.Error(err)
	}
	if got, err := host.ReadFile(ctx, "~/big"); err != nil || string(got) != big {
		t.Error(len(got), err)
	}
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	if err := host.Run(short, sshx.Command{Line: "sleep 1000"}); err == nil {
		t.Error("a command outlived its context")
	}
	if _, err := r.Host(ctx, "i-none"); err == nil || !strings.Contains(err.Error(), providers.ErrNoInstance.Error()) {
		t.Error(err)
	}
	if _, err := (&remote{path: r.path, secret: "wrong"}).List(ctx); err == nil {
		t.Error("the agent answers to a wrong secret")
	}
	if err := r.Terminate(ctx, []string{id}); err != nil {
		t.Error(err)
	}
	if left, err := p.engine.list(ctx, "agent"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// One container that ends on its own is seen and leaves nothing behind.
func TestContainerThatEnds(t *testing.T) { podmantest.Each(t, testContainerThatEnds) }

func testContainerThatEnds(t *testing.T, e podmantest.Engine) {
	dir, cfg := state(t, e, "ends")
	p, err := local(Options{Dir: dir, Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "t", Type: "cpu", Kind: providers.Worker, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.engine.output(t.Context(), "kill", "kill", p.name(made[0].ID)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		all, err := p.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if all[0].State == providers.Terminated {
			if !strings.Contains(all[0].Reason, "status 137") {
				t.Error(all[0])
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(all)
		}
	}
	if left, err := p.engine.list(t.Context(), "ends"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

func TestClassify(t *testing.T) {
	for text, want := range map[string]providers.Cause{
		"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?": providers.BadConfig,
		"permission denied while trying to connect to the Docker daemon socket":                             providers.Auth,
		"write /var/lib/docker/x: no space left on device":                                                  providers.Capacity,
		"pull access denied for bad/image, repository does not exist":                                       providers.BadConfig,
		"Error: netavark: No such file or directory (os error 2)":                                           providers.BadConfig,
		"something else": providers.Transient,
	} {
		err := classify("create cpu", fmt.Errorf("exit status 125"), text)
		if providers.CauseOf(err) != want || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCheck(t *testing.T) {
	parse := func(text string) *cluster.Config {
		cfg, err := cluster.Parse("d.yaml", []byte("cluster_name: d\nhead_node_type: h\nprovider: {type: docker}\navailable_node_types: {h: {resources: {CPU: 1}, node_config: "+text+"}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	if err := Check(parse("{image: a, run_options: [--cpus=1]}")); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{"{}": "no image", "{image: 3}": "expected the name", "{image: a, imgae: b}": "imgae", "{image: a, run_options: x}": "expected a list"} {
		if err := Check(parse(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
