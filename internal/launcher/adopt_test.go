package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
	"ray/providers/all"
)

func stat(pid, parent int, state string, start int) string {
	return fmt.Sprintf("%d (a (b) c) %s %d%s %d 0\n", pid, state, parent, strings.Repeat(" 0", 17), start)
}

func TestFamilyOf(t *testing.T) {
	out := stat(1, 0, "S", 1) + stat(10, 1, "S", 5) + stat(11, 10, "S", 6) + stat(12, 11, "R", 7) + stat(13, 10, "Z", 8) +
		stat(20, 1, "S", 9) + stat(30, 1, "S", 3) + "/proc/10/cmdline\n/proc/99/cmdline\n"
	for _, c := range []struct {
		known map[int]uint64
		want  []int
	}{
		{nil, []int{10, 11, 12}},                       // the daemon and all below it, the zombie not
		{map[int]uint64{20: 9}, []int{10, 11, 12, 20}}, // one that was seen before
		{map[int]uint64{30: 2}, []int{10, 11, 12}},     // another has its number now
	} {
		var got []int
		for _, p := range familyOf(out, c.known) {
			got = append(got, p.pid)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("known %v: %v, want %v", c.known, got, c.want)
		}
	}
}

// The search finds a daemon of upstream's by the port of its head, and not
// itself.
func TestFindUpstream(t *testing.T) {
	port := strconv.Itoa(100000 + os.Getpid()) // no other test's
	daemon := func(args ...string) int {
		cmd := exec.Command("/bin/sh", append([]string{"-c", "read x", "/x/core/src/ray/gcs/gcs_server"}, args...)...)
		if _, err := cmd.StdinPipe(); err != nil { // open until the end
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
		return cmd.Process.Pid
	}
	pid := daemon("--gcs_server_port=" + port)
	daemon("--gcs_server_port=" + port + "1")
	daemon("--gcs_server_port=1", port)
	host := &sshx.Local{}
	runs, err := lookForUpstream(t.Context(), host, port)
	if err != nil || len(runs.processes) != 1 || runs.processes[0].pid != pid {
		t.Fatalf("%+v, %v; the daemon is %d", runs, err, pid)
	}
	if err := endUpstream(t.Context(), host, port); err != nil {
		t.Fatal(err)
	}
	if runs, err = lookForUpstream(t.Context(), host, port); err != nil || len(runs.processes) > 0 {
		t.Errorf("left: %+v, %v", runs, err)
	}
}

// upstreamOn has upstream's runtime run on the bench's machines until it is killed.
func (b *bench) upstreamOn(lines string) {
	b.fake.OnRun = func(ctx context.Context, id string, c sshx.Command) error {
		b.mu.Lock()
		switch {
		case strings.Contains(c.Line, "gcs_serve[r]"):
			_, _ = fmt.Fprint(c.Stdout, lines)
		case strings.HasPrefix(c.Line, "kill"):
			b.ran = append(b.ran, c.Line)
			lines = ""
		}
		b.mu.Unlock()
		return b.run(ctx, id, c)
	}
}

// A head of upstream's keeps its machine; what runs there ends if the user agrees.
func TestAdoption(t *testing.T) {
	b := newBench(t, demo)
	hash, err := b.cluster(t).Config.LaunchHash("head")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.fake.Create(t.Context(), providers.CreateRequest{
		Token: "upstream", Type: "head", Kind: providers.Head, Count: 1, Tags: map[string]string{providers.TagLaunchHash: hash},
	}); err != nil {
		t.Fatal(err)
	}
	b.upstreamOn(stat(40, 1, "S", 4) + stat(41, 40, "S", 5) + "/proc/40/cmdline\n")
	p, err := b.cluster(t).Plan(t.Context())
	if err != nil || len(p.Changes) != 1 || p.Changes[0].Action != "adopt" || !strings.Contains(p.Changes[0].Disturbs, "upstream's Ray stops there; its jobs end (they could not be listed") {
		t.Errorf("plan %+v, %v", p, err)
	}
	b.no = true
	if err := b.cluster(t).Up(t.Context(), UpOptions{}); !errors.Is(err, errDeclined) || len(b.ran) > 0 {
		t.Errorf("declined: %v, ran %q", err, b.ran)
	}
	b.no = false
	b.up(t)
	if want := "kill -TERM 40 41"; b.creates() != 1 || len(b.ran) < 3 || b.ran[0] != "set it up" || !strings.HasPrefix(b.ran[1], want) || !strings.Contains(b.ran[2], "ray st") {
		t.Errorf("calls %q, ran %q", b.fake.Calls(), b.ran)
	}
	if len(b.asks) != 2 || !strings.Contains(b.asks[1], "Upstream's Ray runs on") {
		t.Errorf("asked %q", b.asks)
	}
	if p, err := b.cluster(t).Plan(t.Context()); err != nil || len(p.Changes) > 0 {
		t.Errorf("afterwards: %+v, %v", p, err)
	}
}

// listed is a provider of hosts that are there anyway.
type listed struct{ providers.Provider }

func (listed) Traits() providers.Traits { return providers.Traits{Manual: true} }

// A listed host is asked before it becomes a head.
func TestUpstreamOnAListedHost(t *testing.T) {
	b := newBench(t, demo)
	b.NewProvider = func(*cluster.Config, all.Options) (providers.Provider, error) { return listed{b.fake}, nil }
	b.upstreamOn(stat(40, 1, "S", 4) + "/proc/40/cmdline\n")
	b.no = true
	if err := b.cluster(t).Up(t.Context(), UpOptions{}); !errors.Is(err, errDeclined) || len(b.ran) > 0 {
		t.Errorf("declined: %v, ran %q", err, b.ran)
	}
	b.no = false
	b.up(t)
	if len(b.ran) < 3 || b.ran[0] != "set it up" || !strings.HasPrefix(b.ran[1], "kill -TERM 40") {
		t.Errorf("ran %q", b.ran)
	}
}

func TestStartPort(t *testing.T) {
	for line, want := range map[string]string{"ray start --head": "6379", "ray start --head --port=7": "7", "ray start --port 8 --head": "8"} {
		b := newBench(t, demo+"head_start_ray_commands: ["+line+"]\n")
		if got := b.cluster(t).startPort(); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}
