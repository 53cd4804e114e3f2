package local

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/cluster"
	"ray/internal/sshx/sshtest"
	"ray/providers"
	"ray/providers/providertest"
)

// The suite runs against one real sshd under several names of loopback.
func TestSuite(t *testing.T) {
	s := sshtest.Start(t)
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	providertest.Run(t, providertest.Case{
		HeadType: "local.cluster.node", WorkerType: "local.cluster.node", Commands: true, Reused: true, Scratch: t.TempDir(),
		New: func(t *testing.T, reopen bool) providers.Provider {
			if !reopen {
				dirs[t.Name()] = filepath.Join(t.TempDir(), "state")
			}
			return New(Options{
				Dir: dirs[t.Name()], Cluster: "suite-" + filepath.Base(t.TempDir()),
				Head: "127.0.0.1:" + port, Workers: []string{"localhost:" + port, "127.0.0.1:0" + port},
				Auth: cluster.Auth{User: s.User, PrivateKey: s.Key},
			})
		},
	})
}

func TestNoMoreHosts(t *testing.T) {
	p := New(Options{Dir: t.TempDir(), Cluster: "c", Head: "h", Workers: []string{"a"}})
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "t", Type: "x", Kind: providers.Worker, Count: 2})
	if len(made) != 1 || providers.CauseOf(err) != providers.Capacity || !strings.Contains(err.Error(), "worker_ips") {
		t.Errorf("made %d, %v", len(made), err)
	}
}

// A host that does not answer stays taken, and the error names it.
func TestUnreachableHostIsKept(t *testing.T) {
	p := New(Options{Dir: t.TempDir(), Cluster: "c", Head: "127.0.0.1:1", Auth: cluster.Auth{User: "x", PrivateKey: "/nonexistent"}})
	if _, err := p.Create(t.Context(), providers.CreateRequest{Token: "t", Type: "x", Kind: providers.Head, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if err := p.Terminate(t.Context(), []string{"127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("terminate: %v", err)
	}
	if list, _ := p.List(t.Context()); len(list) != 1 || !list[0].State.Live() {
		t.Errorf("the host was given up: %+v", list)
	}
}
