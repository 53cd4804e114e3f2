// Package providertest is the suite that every provider passes. A provider's
// own test is a call of Run with a function that makes one.
package providertest

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"ray/internal/sshx"
	"ray/providers"
)

// Case is one provider under test.
type Case struct {
	// New gives a provider of an empty cluster; called again with reopen true
	// it gives another one of the same cluster, as a second process would have.
	New func(t *testing.T, reopen bool) providers.Provider
	// HeadType and WorkerType are node types that it can make one and two of.
	HeadType, WorkerType string
	// Commands: its hosts really run commands.
	Commands bool
	// Reused: the provider has a fixed set of machines, whose ids return.
	Reused bool
	// Scratch is a directory on its hosts that the suite may write to; "" means
	// that the host's home is the instance's own.
	Scratch string
	// Memory: nothing outlives the value, so reopening shows nothing.
	Memory bool
}

// Run runs the suite.
func Run(t *testing.T, c Case) {
	t.Run("EmptyAtFirst", func(t *testing.T) { wantLive(t, c.New(t, false), 0) })
	t.Run("CreateListTerminate", c.lifecycle)
	t.Run("SameTokenSameInstances", c.idempotent)
	t.Run("SurvivesTheProcess", c.durable)
	t.Run("EndedIsNoError", c.ended)
	t.Run("TagsChange", c.tags)
	t.Run("StoppedAndStarted", c.stopped)
	t.Run("CancelledContext", c.cancelled)
	t.Run("HostOfNothing", c.hostOfNothing)
	if c.Commands {
		t.Run("HostRunsCommands", c.commands)
	}
}

func (c Case) worker(token string, n int) providers.CreateRequest {
	return providers.CreateRequest{Token: token, Type: c.WorkerType, Kind: providers.Worker, Count: n, Tags: map[string]string{"x": "y"}}
}

func mustCreate(t *testing.T, p providers.Provider, req providers.CreateRequest) []providers.Instance {
	t.Helper()
	made, err := p.Create(t.Context(), req)
	if err != nil {
		t.Fatalf("create %+v: %v", req, err)
	}
	if len(made) != req.Count {
		t.Fatalf("create made %d instances, want %d", len(made), req.Count)
	}
	return made
}

func live(t *testing.T, p providers.Provider) []providers.Instance {
	t.Helper()
	all, err := p.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	var out []providers.Instance
	for _, i := range all {
		if i.State.Live() {
			out = append(out, i)
		}
	}
	return out
}

// wantLive waits until the provider lists n live instances.
func wantLive(t *testing.T, p providers.Provider, n int) []providers.Instance {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := live(t, p)
		if len(got) == n {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d live instances, want %d: %+v", len(got), n, got)
		}
	}
}

func (c Case) lifecycle(t *testing.T) {
	p := c.New(t, false)
	head := mustCreate(t, p, providers.CreateRequest{Token: "h", Type: c.HeadType, Kind: providers.Head, Count: 1})[0]
	workers := mustCreate(t, p, c.worker("w", 2))
	for _, i := range wantLive(t, p, 3) {
		if i.Tags[providers.TagKind] != i.Kind || i.Tags[providers.TagType] != i.Type {
			t.Errorf("%s: tags %v do not say kind %s and type %s", i.ID, i.Tags, i.Kind, i.Type)
		}
		if i.Kind == providers.Worker && i.Tags["x"] != "y" {
			t.Errorf("%s lost its own tag: %v", i.ID, i.Tags)
		}
		if i.Created.IsZero() || i.IP == "" {
			t.Errorf("%s has no time or no address: %+v", i.ID, i)
		}
	}
	if err := p.Terminate(t.Context(), []string{workers[0].ID}); err != nil {
		t.Fatalf("terminate: %v", err)
	}
	wantLive(t, p, 2)
	if !c.Reused {
		sawEnd(t, p, workers[0].ID)
	}
	if err := p.Terminate(t.Context(), []string{workers[1].ID, head.ID}); err != nil {
		t.Fatalf("terminate: %v", err)
	}
	wantLive(t, p, 0)
}

// tags are changed and others kept, where the provider can.
func (c Case) tags(t *testing.T) {
	p := c.New(t, false)
	tagger, ok := p.(providers.Tagger)
	if !ok {
		t.Skip("its tags cannot be changed")
	}
	w := mustCreate(t, p, c.worker("w", 1))[0]
	for _, status := range []string{"setting-up", "up-to-date"} {
		if err := tagger.Tag(t.Context(), w.ID, map[string]string{providers.TagStatus: status}); err != nil {
			t.Fatal(err)
		}
		got := wantLive(t, p, 1)[0].Tags
		if got[providers.TagStatus] != status || got["x"] != "y" || got[providers.TagType] != c.WorkerType {
			t.Errorf("tags %v, want status %s", got, status)
		}
	}
}

func sawEnd(t *testing.T, p providers.Provider, id string) {
	t.Helper()
	all, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.ID == id && i.State == providers.Terminated && !i.Ended.IsZero() {
			return
		}
	}
	t.Errorf("the list does not show that %s ended: %+v", id, all)
}

func (c Case) idempotent(t *testing.T) {
	p := c.New(t, false)
	first := mustCreate(t, p, c.worker("same", 2))
	again := mustCreate(t, p, c.worker("same", 2))
	for i := range first {
		if first[i].ID != again[i].ID {
			t.Errorf("the same request made %s and then %s", first[i].ID, again[i].ID)
		}
	}
	wantLive(t, p, 2)
	if err := p.Terminate(t.Context(), []string{first[0].ID, first[1].ID}); err != nil {
		t.Fatal(err)
	}
}

func (c Case) durable(t *testing.T) {
	if c.Memory {
		t.Skip("the provider is in memory only")
	}
	made := mustCreate(t, c.New(t, false), c.worker("d", 1))
	other := c.New(t, true)
	if got := wantLive(t, other, 1); got[0].ID != made[0].ID || got[0].Type != c.WorkerType {
		t.Errorf("another process sees %+v, want %s", got, made[0].ID)
	}
	if err := other.Terminate(t.Context(), []string{made[0].ID}); err != nil {
		t.Fatal(err)
	}
	wantLive(t, other, 0)
}

func (c Case) ended(t *testing.T) {
	p := c.New(t, false)
	made := mustCreate(t, p, c.worker("e", 1))
	for range 2 {
		if err := p.Terminate(t.Context(), []string{made[0].ID, "i-never-was"}); err != nil {
			t.Fatalf("terminate: %v", err)
		}
	}
	wantLive(t, p, 0)
}

// stopped instances stay in the list, can be started again as another request's,
// and can be ended, where the provider can stop any.
func (c Case) stopped(t *testing.T) {
	p := c.New(t, false)
	stopper, ok := p.(providers.Stopper)
	if !ok {
		t.Skip("its instances cannot be stopped")
	}
	made := mustCreate(t, p, c.worker("w", 2))
	a, b := made[0].ID, made[1].ID
	if err := stopper.Stop(t.Context(), []string{a, b, "i-never-was"}); err != nil {
		t.Fatalf("stop: %v", err)
	}
	wantStates(t, p, map[string]providers.State{a: providers.Stopped, b: providers.Stopped})
	if err := stopper.Stop(t.Context(), []string{a}); err != nil {
		t.Fatalf("stop what is stopped: %v", err)
	}
	if err := stopper.Restart(t.Context(), a, map[string]string{providers.TagRequest: "again"}); err != nil {
		t.Fatalf("start: %v", err)
	}
	wantStates(t, p, map[string]providers.State{a: providers.Running, b: providers.Stopped})
	for _, i := range live(t, p) {
		if want := map[string]string{a: "again", b: "w"}[i.ID]; i.Tags[providers.TagRequest] != want || i.Tags["x"] != "y" || i.Type != c.WorkerType {
			t.Errorf("%s: tags %v, want the request %s", i.ID, i.Tags, want)
		}
	}
	if err := stopper.Restart(t.Context(), "i-never-was", nil); err == nil {
		t.Error("an instance that never was has been started")
	}
	if err := p.Terminate(t.Context(), []string{a, b}); err != nil {
		t.Fatalf("terminate: %v", err)
	}
	wantLive(t, p, 0)
}

// wantStates waits until the live instances are these, in these states.
func wantStates(t *testing.T, p providers.Provider, want map[string]providers.State) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := map[string]providers.State{}
		for _, i := range live(t, p) {
			got[i.ID] = i.State
		}
		if maps.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("states %v, want %v", got, want)
		}
	}
}

func (c Case) cancelled(t *testing.T) {
	p := c.New(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Create(ctx, c.worker("c", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("create under a cancelled context: %v", err)
	}
	wantLive(t, p, 0)
}

func (c Case) hostOfNothing(t *testing.T) {
	if _, err := c.New(t, false).Host(t.Context(), "i-never-was"); !errors.Is(err, providers.ErrNoInstance) {
		t.Errorf("host of nothing: %v, want ErrNoInstance", err)
	}
}

func (c Case) commands(t *testing.T) {
	p := c.New(t, false)
	made := mustCreate(t, p, c.worker("run", 1))
	defer func() { _ = p.Terminate(context.WithoutCancel(t.Context()), []string{made[0].ID}) }()
	h, err := p.Host(t.Context(), made[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var out strings.Builder
	err = h.Run(t.Context(), sshx.Command{Line: `echo "$RAY_X"; exit 7`, Env: map[string]string{"RAY_X": "a b"}, Stdout: &out})
	if sshx.ExitCode(err) != 7 || out.String() != "a b\n" {
		t.Errorf("command ended with %v and printed %q", err, out.String())
	}
	file := "~/d/f"
	if c.Scratch != "" {
		file = c.Scratch + "/d/f"
	}
	if err := h.WriteFile(t.Context(), file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := h.ReadFile(t.Context(), file); err != nil || string(data) != "text" {
		t.Errorf("read %q, %v", data, err)
	}
}
