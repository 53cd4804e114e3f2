package bootstrap

import (
	"context"
	"slices"
	"testing"

	"ray/internal/sshx"
	"ray/providers"
)

// one is a provider with a single worker's machine.
type one struct {
	providers.Provider
	host sshx.Host
}

func (p one) List(context.Context) ([]providers.Instance, error) {
	return []providers.Instance{{ID: "i-1", Type: "cpu", Kind: providers.Worker, State: providers.Running}}, nil
}

func (p one) Host(context.Context, string) (sshx.Host, error) { return p.host, nil }

func (p one) Traits() providers.Traits { return providers.Traits{} }

// An autoscaler that takes up the set-up of one that was killed runs no start
// command, which would stop the node, on a machine whose node has joined: before
// the set-up, or while it went on.
func TestInstallLeavesWhatHasJoined(t *testing.T) {
	start := "ray start --address=$RAY_HEAD_ADDRESS"
	for name, c := range map[string]struct {
		joins int // which of the questions is the first to hear yes; 0 is none
		want  []string
	}{
		"before":    {1, nil},
		"meanwhile": {2, []string{"init it", "set it up"}},
		"never":     {0, []string{"init it", "set it up", start}},
	} {
		t.Run(name, func(t *testing.T) {
			h := machine(t)
			n := node(t, h, providers.Worker, "cpu")
			asked := 0
			f := &Fleet{
				Config: n.Config, Provider: one{host: h}, HeadAddress: "10.0.0.1:6379", TokenFile: n.TokenFile, Ray: n.Ray,
				Joined: func(_ context.Context, id string) (bool, error) {
					asked++
					return id == "i-1" && c.joins > 0 && asked >= c.joins, nil
				},
			}
			if err := f.Install(t.Context(), "i-1"); err != nil {
				t.Fatal(err)
			}
			if got := commands(h); !slices.Equal(got, c.want) {
				t.Errorf("ran %q, want %q", got, c.want)
			}
		})
	}
}
