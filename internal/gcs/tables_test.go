package gcs

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ray/internal/spec"
	"ray/internal/wire"
)

// stored keeps what changes write, as a store would.
type stored struct {
	*Tables
	rows Rows
}

func newStored() *stored { return &stored{New(), Rows{}} }

func (s *stored) keep(c Change) Change {
	m := NewMemory()
	m.rows = s.rows
	_ = m.Commit(c.Writes, 0)
	return c
}

// reload is a new head on the same store.
func (s *stored) reload(t *testing.T) *stored {
	t.Helper()
	tables, err := Load(s.rows)
	if err != nil {
		t.Fatal(err)
	}
	return &stored{tables, s.rows}
}

func TestKV(t *testing.T) {
	s := newStored()
	for _, k := range []string{"b", "a", "ab"} {
		added, c := s.KVPut("ns", k, []byte(k), false)
		if s.keep(c); !added || !c.Sync {
			t.Errorf("put %s: added %v, synced %v", k, added, c.Sync)
		}
	}
	if added, c := s.KVPut("ns", "a", []byte("x"), false); added || len(c.Writes) > 0 {
		t.Error("a put without overwrite changed a key")
	}
	_, c := s.KVPut("ns", "a", nil, true)
	s.keep(c)
	n, c := s.KVDelete("ns", "b", true)
	s.keep(c)
	if n != 1 {
		t.Errorf("deleted %d", n)
	}
	s = s.reload(t)
	if diff := cmp.Diff([]string{"a", "ab"}, s.KVList("ns", "")); diff != "" {
		t.Error(diff)
	}
	if v, ok := s.KVGet("ns", "a"); !ok || len(v) != 0 {
		t.Errorf("an empty value came back as %q, %v", v, ok)
	}
	if _, ok := s.KVGet("other", "a"); ok {
		t.Error("namespaces are mixed up")
	}
}

func TestNumbersAreNeverGivenTwice(t *testing.T) {
	s := newStored()
	id, c := s.StartJob(spec.Job{}, 1)
	s.keep(c)
	start, c := s.ProcessBlock(10)
	s.keep(c)
	s = s.reload(t)
	next, c := s.StartJob(spec.Job{}, 2)
	s.keep(c)
	again, _ := s.ProcessBlock(10)
	if id.Int() != 1 || next.Int() != 2 || again != start+10 {
		t.Errorf("jobs %v %v, blocks %d %d", id, next, start, again)
	}
	// A job that the store had lost moves the counter on.
	s.keep(s.RejoinJob(spec.Job{JobID: spec.JobIDFromInt(7)}, 3))
	if next, _ = s.StartJob(spec.Job{}, 4); next.Int() != 8 {
		t.Errorf("next job %v", next)
	}
}

func TestSubmissionGetsItsDriver(t *testing.T) {
	s := newStored()
	c, err := s.Submit(spec.Job{SubmissionID: "sub", Entrypoint: "x"})
	if s.keep(c); err != nil || !c.Sync {
		t.Fatal(err, c.Sync)
	}
	if _, err := s.Submit(spec.Job{SubmissionID: "sub"}); err == nil {
		t.Error("a submission id was taken twice")
	}
	id, c := s.StartJob(spec.Job{SubmissionID: "sub", DriverPID: 5}, 1)
	s.keep(c)
	j, ok := s.Job(id.String())
	if !ok || j.Type != JobSubmission || j.JobID != id || j.DriverPID != 5 {
		t.Errorf("job of the driver: %+v", j)
	}
	s.keep(s.FinishJob(id, "", false, 2))
	if jobs := s.Jobs(); len(jobs) != 1 || jobs[0].Status != spec.JobPending {
		t.Errorf("the end of a driver is not the end of its entrypoint: %+v", jobs)
	}
	c, ok = s.UpdateSubmission("sub", func(j *spec.Job) { j.Status = spec.JobFailed })
	if s.keep(c); !ok {
		t.Error("not updated")
	}
	if _, ok := s.UpdateSubmission("sub", func(j *spec.Job) { j.Status = spec.JobSucceeded }); ok {
		t.Error("a job that has ended was changed")
	}
	s.keep(s.DeleteJob("sub"))
	if _, ok := s.reload(t).Job("sub"); ok {
		t.Error("a deleted job came back")
	}
}

func effects[T Effect](c Change) (out []T) {
	for _, e := range c.Effects {
		if e, ok := e.(T); ok {
			out = append(out, e)
		}
	}
	return out
}

func named(id byte, name string, get bool) (spec.ActorID, spec.ActorOptions) {
	return spec.ActorID{id}, spec.ActorOptions{Name: name, Namespace: "ns", GetIfExists: get}
}

func TestActorNames(t *testing.T) {
	s := newStored()
	node := spec.NodeID{9}
	id, o := named(1, "bob", false)
	existing, c, err := s.ReserveActor(id, o, node, 1)
	if s.keep(c); existing != nil || err != nil || !c.Sync {
		t.Fatal(existing, err, c.Sync)
	}
	other, o2 := named(2, "bob", false)
	_, _, err = s.ReserveActor(other, o2, node, 2)
	if info := new(spec.ErrorInfo); !errors.As(err, &info) || info.Type != "ActorAlreadyExistsError" {
		t.Fatalf("second reservation: %v", err)
	}
	o2.GetIfExists = true
	if existing, _, err = s.ReserveActor(other, o2, node, 2); err != nil || existing == nil || existing.ID != id {
		t.Fatalf("get_if_exists: %v %v", existing, err)
	}
	if _, err = s.CreateActor(wire.ActorCreate{Info: spec.ActorInfo{ID: other, Options: o2}}, 3); err == nil {
		t.Error("a creation took a name that was reserved")
	}
	c, err = s.CreateActor(wire.ActorCreate{Info: spec.ActorInfo{ID: id, Options: o, Owner: node}}, 3)
	if s.keep(c); err != nil {
		t.Fatal(err)
	}
	s = s.reload(t)
	if info, ok := s.ActorByName("ns", "bob"); !ok || info.State != spec.ActorPending {
		t.Errorf("after a restart: %+v %v", info, ok)
	}
	if got := s.NamedActors("", true); len(got) != 1 || len(s.NamedActors("other", false)) != 0 {
		t.Errorf("names %v", got)
	}
	c, ok := s.KillActor(id, true, "test", 4)
	if s.keep(c); !ok {
		t.Fatal("not killed")
	}
	if _, _, err = s.ReserveActor(other, o, node, 5); err != nil {
		t.Errorf("the name of a dead actor is not free: %v", err)
	}
}

func TestJobEnd(t *testing.T) {
	s := newStored()
	node := spec.NodeID{9}
	s.keep(mustJoin(s, node))
	job, c := s.StartJob(spec.Job{NodeID: node}, 1)
	s.keep(c)
	spawn := func(n byte, detached bool, root spec.ActorID) spec.ActorID {
		id := spec.ActorID{n}
		req := wire.ActorCreate{Root: root, Info: spec.ActorInfo{ID: id, JobID: job, Owner: node, Options: spec.ActorOptions{Detached: detached, MaxRestarts: 1}}}
		if detached {
			req.Stored = []byte("spec")
		}
		c, _ := s.CreateActor(req, 2)
		s.keep(c)
		s.keep(s.PlaceActor(id, node, false))
		s.keep(s.ActorStarted(wire.ActorStarted{ActorID: id, Incarnation: 1}, node, 3))
		return id
	}
	plain, detached := spawn(1, false, spec.ActorID{}), spawn(2, true, spec.ActorID{})
	part := spawn(3, false, detached)
	c, _ = s.CreateGroup(spec.PlacementGroup{ID: spec.PlacementGroupID{1}, JobID: job, Bundles: []spec.Resources{{}}}, 4)
	s.keep(c)
	inPart := spec.PlacementGroup{ID: spec.PlacementGroupID{2}, JobID: job, Root: detached, Bundles: []spec.Resources{{}}}
	c, _ = s.CreateGroup(inPart, 4)
	s.keep(c)
	c = s.keep(s.FinishJob(job, "bye", false, 5))
	if k := effects[KillActor](c); len(k) != 1 || k[0].Kill.ActorID != plain || len(effects[JobFinished](c)) != 1 {
		t.Errorf("kills %+v", k)
	}
	if g, _ := s.Group(spec.PlacementGroupID{1}); g.Info.State != spec.PGRemoved {
		t.Errorf("the job's group is %s", g.Info.State)
	}
	// What the detached actor has made is not the job's.
	if a, _ := s.Actor(part); a.Info.State != spec.ActorAlive {
		t.Errorf("the detached actor's own is %s", a.Info.State)
	}
	if g, _ := s.Group(inPart.ID); g.Info.State == spec.PGRemoved {
		t.Error("the detached actor's group is removed")
	}
	// The detached actor lives on, and starts again from its stored spec.
	s.keep(s.ActorEnded(wire.ActorEnded{ActorID: detached, Incarnation: 1}, node, 6))
	s = s.reload(t)
	c = s.keep(s.PlaceActor(detached, node, false))
	start := effects[StartActor](c)
	if len(start) != 1 || start[0].To != node || string(start[0].Place.Stored) != "spec" || start[0].Place.Incarnation != 2 {
		t.Errorf("restart of a detached actor: %+v", start)
	}
	s.keep(s.ActorStarted(wire.ActorStarted{ActorID: detached, Incarnation: 2}, node, 7))
	s.keep(s.ActorEnded(wire.ActorEnded{ActorID: detached, Incarnation: 2}, node, 8)) // no restart is left
	if g, _ := s.Group(inPart.ID); g.Info.State != spec.PGRemoved {
		t.Errorf("its actor is dead, the group is %s", g.Info.State)
	}
	inPart.ID = spec.PlacementGroupID{3}
	if _, err := s.CreateGroup(inPart, 9); err == nil {
		t.Error("a group was made for a dead actor")
	}
}

func mustJoin(s *stored, id spec.NodeID) Change {
	c, err := s.Join(spec.NodeInfo{ID: id}, 1)
	if err != nil {
		panic(err)
	}
	return c
}

func TestDeadNodesStayDead(t *testing.T) {
	s := newStored()
	id := spec.NodeID{1}
	s.keep(mustJoin(s, id))
	job, c := s.StartJob(spec.Job{NodeID: id}, 1)
	s.keep(c)
	c = s.keep(s.NodeDead(id, "gone", false, 2))
	if len(effects[NodeChanged](c)) != 1 || len(effects[JobFinished](c)) != 1 {
		t.Errorf("effects %+v", c.Effects)
	}
	s = s.reload(t)
	if j, _ := s.Job(job.String()); j.Status != spec.JobFailed {
		t.Errorf("job of a dead node: %+v", j)
	}
	if _, err := s.Join(spec.NodeInfo{ID: id}, 3); err == nil {
		t.Error("a dead node came back")
	}
	if n := s.Nodes(); len(n) != 1 || n[0].State != spec.NodeDead || n[0].EndMS != 2 {
		t.Errorf("nodes %+v", n)
	}
}

func TestEndedRowsAreBounded(t *testing.T) {
	s := newStored()
	for i := range keptGroups + 10 {
		id := spec.PlacementGroupID{byte(i), byte(i >> 8)}
		c, _ := s.CreateGroup(spec.PlacementGroup{ID: id, Bundles: []spec.Resources{{}}}, int64(i))
		s.keep(c)
		s.keep(s.RemoveGroup(id, int64(i)))
	}
	if n := len(s.Groups()); n != keptGroups || len(s.rows[tableGroups]) != keptGroups {
		t.Errorf("%d groups, %d stored", n, len(s.rows[tableGroups]))
	}
	if slices.ContainsFunc(s.Groups(), func(g Group) bool { return g.Info.CreatedMS < 10 }) {
		t.Error("the oldest were not the ones that went")
	}
}
