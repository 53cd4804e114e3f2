package launcher

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/all"
)

// preparing is a provider that fills in the file, as clouds do.
type preparing struct {
	providers.Provider
	cfg      *cluster.Config
	dir      string
	prepared *int
	cleaned  *int
}

func (p preparing) Traits() providers.Traits { return providers.Traits{} }

func (p preparing) Prepare(context.Context) (*cluster.Config, error) {
	*p.prepared++
	key := filepath.Join(p.dir, "key.pem")
	return p.cfg.Edit(func(doc map[string]any) {
		doc["auth"] = map[string]any{"ssh_user": "ubuntu", "ssh_private_key": key, "ssh_proxy_command": "proxy %h"}
	}), os.WriteFile(key, []byte("secret"), 0o600)
}

func (p preparing) Foresee(context.Context) (*cluster.Config, error) { return nil, providers.ErrUnmade }

func (p preparing) Cleanup(context.Context) ([]string, error) {
	*p.cleaned++
	return []string{"key pair k"}, nil
}

func TestProviderFillsInTheFile(t *testing.T) {
	b := newBench(t, demo)
	var prepared, cleaned int
	b.NewProvider = func(cfg *cluster.Config, o all.Options) (providers.Provider, error) {
		return preparing{b.fake, cfg, o.StateDir, &prepared, &cleaned}, nil
	}
	c := b.up(t)
	if prepared != 1 {
		t.Fatalf("prepared %d times", prepared)
	}
	n := c.node(*mustHead(t, c), nil)
	if string(n.Files[bootstrapKey]) != "secret" {
		t.Error("the head does not get the key by which it reaches workers")
	}
	copied := string(n.Files[cluster.BootstrapPath])
	if !strings.Contains(copied, bootstrapKey) || strings.Contains(copied, "proxy %h") || !strings.Contains(copied, `"use_internal_ips": true`) {
		t.Errorf("the head's copy: %s", copied)
	}
	// The same file again: nothing is asked, nothing done, the key is known.
	if again := b.up(t); prepared != 1 || again.Config.Auth.PrivateKey != c.Config.Auth.PrivateKey || len(b.asks) > 0 {
		t.Errorf("prepared %d times, asked %q, key %q", prepared, b.asks, again.Config.Auth.PrivateKey)
	}
	// A changed one: another call still reaches the machines by the key.
	b.write(t, demo+"max_workers: 1\n")
	changed := b.cluster(t)
	if changed.Config.MaxWorkers != 1 || changed.Config.Auth.PrivateKey != c.Config.Auth.PrivateKey {
		t.Errorf("max_workers %d, key %q", changed.Config.MaxWorkers, changed.Config.Auth.PrivateKey)
	}
	if b.up(t); prepared != 2 {
		t.Errorf("a changed file was prepared %d times", prepared-1)
	}
	if err := b.cluster(t).Down(t.Context(), DownOptions{AllResources: true}); err != nil || cleaned != 1 || !strings.Contains(b.out.String(), "Removed the key pair k.") {
		t.Errorf("%v, cleaned %d times: %s", err, cleaned, b.out.String())
	}
}

func mustHead(t *testing.T, c *Cluster) *providers.Instance {
	t.Helper()
	head, _, err := c.live(t.Context())
	if err != nil || head == nil {
		t.Fatal("no head", err)
	}
	return head
}

func TestPlan(t *testing.T) {
	b := newBench(t, strings.Replace(demo, "cpu: {resources: {CPU: 4}}", "cpu: {resources: {CPU: 4}, min_workers: 2}", 1))
	plan := func(want string) {
		t.Helper()
		p, err := b.cluster(t).Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range p.Changes {
			got = append(got, c.Action+" "+c.What)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("plan %q, want %q", got, want)
		}
	}
	plan("create head head, create worker cpu")
	if b.creates() != 0 {
		t.Error("a plan made something")
	}
	b.up(t)
	plan("")
	b.write(t, strings.ReplaceAll(demo, "set it up", "set up otherwise"))
	plan("set-up head head")
	b.write(t, strings.ReplaceAll(demo, "head: {resources: {CPU: 2}}", "head: {resources: {CPU: 2}, node_config: {a: b}}"))
	plan("replace head head")
}

func TestTarget(t *testing.T) {
	dir := func(p string) (bool, error) { return p == "/is/dir", nil }
	for _, c := range []struct {
		to, from string
		dir      bool
		want     string
	}{
		{"/x", "f", false, "/x"}, {"/is/dir", "a/f", false, "/is/dir/f"}, {"~/", "a/f", false, "~/f"},
		{"/x", "a/d", true, "/x/d"}, {"/x/", "a/d/", true, "/x"}, {"~/", "a/d/", true, "~"},
	} {
		if got, err := target(c.to, c.from, c.dir, dir); err != nil || got != c.want {
			t.Errorf("%s to %s goes to %q, %v; want %q", c.from, c.to, got, err, c.want)
		}
	}
}

func TestMux(t *testing.T) {
	for _, c := range []struct {
		m     Mux
		line  string
		fresh bool
		want  string
	}{
		{NoMux, "a 'b'", false, "a 'b'"}, {NoMux, "", false, ""},
		{Screen, "x", false, "screen -L -dm bash -c 'x; exec bash'"}, {Screen, "", true, "exec screen -L"},
		{Tmux, "", false, "tmux attach || exec tmux new"}, {Tmux, "", true, "exec tmux new"},
	} {
		if got := c.m.Line(c.line, c.fresh); got != c.want {
			t.Errorf("%s %q: %s", c.m, c.line, got)
		}
	}
}
