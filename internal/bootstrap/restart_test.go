package bootstrap

import (
	"errors"
	"slices"
	"testing"

	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/fake"
)

// A launch takes stopped machines of its type before it makes new ones: those
// that were launched as one would be now.
func TestLaunchStartsStoppedMachines(t *testing.T) {
	cfg, err := cluster.Parse("cluster.yaml", []byte(`
cluster_name: demo
provider: {type: process}
head_node_type: head
available_node_types:
  head: {resources: {CPU: 1}, node_config: {}}
  cpu: {resources: {CPU: 1}, node_config: {}}
max_workers: 9
`))
	if err != nil {
		t.Fatal(err)
	}
	p := fake.New("demo")
	f := &Fleet{Config: cfg, Provider: p}
	launch := func(names ...string) (ids []string) {
		t.Helper()
		made, err := f.Launch(t.Context(), "cpu", names, nil, func(providers.Offering, error) {})
		if err != nil || len(made) != len(names) {
			t.Fatalf("launch %v: %v %v", names, made, err)
		}
		for _, i := range made {
			if !i.State.Up() || !slices.Contains(names, i.Tags[providers.TagRequest]) {
				t.Errorf("launch %v gave %+v", names, i)
			}
			ids = append(ids, i.ID)
		}
		return ids
	}
	first := launch("a", "b", "stale")
	if err := p.Tag(t.Context(), first[2], map[string]string{providers.TagLaunchHash: "another"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Stop(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	again := launch("c", "d", "e")
	slices.Sort(again)
	kept := []string{first[0], first[1]}
	slices.Sort(kept)
	if n := len(slices.DeleteFunc(slices.Clone(again), func(id string) bool { return slices.Contains(kept, id) })); n != 1 || slices.Contains(again, first[2]) {
		t.Errorf("launched %v after %v were stopped, of which the last does not fit: want the others and a new one", again, first)
	}
	if repeated := launch("c", "d", "e"); !sameIDs(repeated, again) {
		t.Errorf("the same names gave %v and then %v", again, repeated)
	}
	// A call that was cut off between the new name and the start is finished.
	if err := f.Stop(t.Context(), again[:1]); err != nil {
		t.Fatal(err)
	}
	if err := p.Tag(t.Context(), again[0], map[string]string{providers.TagRequest: "f"}); err != nil {
		t.Fatal(err)
	}
	if got := launch("f"); got[0] != again[0] {
		t.Errorf("f has the machine %s and got %s", again[0], got[0])
	}
	// One that cannot be started leaves its name to a new machine.
	if err := f.Stop(t.Context(), again[:1]); err != nil {
		t.Fatal(err)
	}
	p.FailNext("restart", &providers.Error{Cause: providers.Capacity, Op: "start", Err: errors.New("no room")})
	if got := launch("g"); slices.Contains(again, got[0]) {
		t.Errorf("g got %s, which could not be started", got[0])
	}
}

func sameIDs(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
