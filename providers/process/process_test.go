package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ray/internal/sshx"
	"ray/providers"
	"ray/providers/providertest"
)

func TestSuite(t *testing.T) {
	dirs := map[string]string{}
	providertest.Run(t, providertest.Case{
		HeadType: "head", WorkerType: "cpu", Commands: true,
		New: func(t *testing.T, reopen bool) providers.Provider {
			if !reopen {
				dirs[t.Name()] = filepath.Join(t.TempDir(), "nodes")
			}
			return open(t, dirs[t.Name()])
		},
	})
}

func open(t *testing.T, dir string) *Provider {
	t.Helper()
	p, err := New(Options{Dir: dir, Cluster: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Daemons that have left their process group and their parent still belong to
// the instance, and end with it; those of another instance do not.
func TestTerminateEndsDaemons(t *testing.T) {
	p := open(t, filepath.Join(t.TempDir(), "nodes"))
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "t", Type: "cpu", Kind: providers.Worker, Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range made {
		h, err := p.Host(t.Context(), i.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sshx.Output(t.Context(), h, "setsid -f sleep 1000 >/dev/null 2>&1 </dev/null"); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); len(p.processes(made[0].ID)) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the daemon is not seen as one of the instance")
		}
	}
	if err := p.Terminate(t.Context(), []string{made[0].ID}); err != nil {
		t.Fatal(err)
	}
	if left := p.processes(made[0].ID); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
	if left := p.processes(made[1].ID); len(left) != 1 {
		t.Errorf("the other instance has %v, want its one daemon", left)
	}
	if err := p.Terminate(t.Context(), []string{made[1].ID}); err != nil {
		t.Fatal(err)
	}
}

func TestHostEnvironment(t *testing.T) {
	p := open(t, filepath.Join(t.TempDir(), "nodes"))
	ray := filepath.Join(t.TempDir(), "my-ray")
	if err := os.WriteFile(ray, []byte("#!/bin/sh\necho called $*\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.o.Ray = ray
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "t", Type: "cpu", Kind: providers.Worker, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.Host(t.Context(), made[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	out, err := sshx.Output(t.Context(), h, `ray x; echo $RAY_CLOUD_INSTANCE_ID; echo $RAY_TMPDIR; echo ~/ray_bootstrap_config.yaml; echo $HOME`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"called x", made[0].ID, p.tmp(made[0].ID), filepath.Join(p.home(made[0].ID), "ray_bootstrap_config.yaml"), os.Getenv("HOME")}
	if out != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", out, strings.Join(want, "\n"))
	}
	if err := p.Terminate(t.Context(), []string{made[0].ID}); err != nil {
		t.Fatal(err)
	}
}
