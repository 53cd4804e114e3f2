package simtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"ray/autoscaler"
	"ray/internal/spec"
)

// perform begins an action; its answer comes later, unless the head that asked
// is gone by then.
func (w *World) perform(a autoscaler.Action) {
	life := w.life
	tell := func(r autoscaler.Result) {
		if r.Action = a; life == w.life {
			w.results = append(w.results, r)
		}
	}
	answer := func(err error) { tell(autoscaler.Result{Err: err}) }
	switch a.Kind {
	case autoscaler.ActLaunch:
		w.after(w.wait(), func() {
			machines, tried, err := w.launch(w.now, a.NodeType, a.Instances, a.Ways)
			w.after(w.wait(), func() { tell(autoscaler.Result{Machines: machines, Attempts: tried, Err: err}) })
		})
	case autoscaler.ActEnd:
		w.after(w.wait(), func() {
			if w.chance(w.faults.Terminate) {
				answer(errors.New("the cloud is unwell"))
				return
			}
			w.endHead()
		})
	case autoscaler.ActInstall:
		w.install(a.Instances[0], answer)
	case autoscaler.ActDrain:
		w.after(w.wait()/10, func() { answer(w.drain(a.Instances[0].CloudID, a.Instances[0].Gentle)) })
	case autoscaler.ActTerminate, autoscaler.ActStop:
		w.after(w.wait(), func() {
			if w.chance(w.faults.Terminate) {
				answer(errors.New("the cloud is unwell"))
				return
			}
			for _, i := range a.Instances {
				w.remove(i.CloudID, a.Kind == autoscaler.ActStop)
			}
			answer(nil)
		})
	}
}

func (w *World) install(i autoscaler.Instance, answer func(error)) {
	w.after(w.wait()+time.Second, func() {
		m := w.machines[i.CloudID]
		switch {
		case m == nil || m.gone:
			answer(errors.New("no such machine"))
		case w.nodes[m.ID] != nil && w.nodes[m.ID].State != spec.NodeDead:
			answer(nil)
		case w.chance(w.faults.Install):
			answer(errors.New("command 2 of 3 ended with status 1"))
		case w.chance(w.faults.NeverJoins):
			answer(nil)
		default:
			w.join(m, i.RuntimeHash)
			answer(nil)
		}
	})
}

func (w *World) join(m *machine, hash string) {
	for _, row := range w.rows {
		if row.CloudID == m.ID && !row.State.Terminal() && !row.State.Serving() {
			return // its machine is being taken away; the head does not admit it
		}
	}
	total := w.Config.NodeTypes[m.NodeType].Resources
	n := &spec.Node{NodeInfo: spec.NodeInfo{Instance: m.ID, NodeType: m.NodeType, Total: total.Clone()}, State: spec.NodeAlive, Available: total.Clone()}
	w.joined++
	copy(n.ID[:], fmt.Sprintf("n%04d", w.joined))
	w.nodes[m.ID] = n
	w.setUp[m.ID] = hash
	w.busySince[m.ID] = w.now
}

func (w *World) drain(id string, busy bool) error {
	n := w.nodes[id]
	if n == nil || n.State == spec.NodeDead || w.runs(id) && !busy {
		return errors.New("it runs something")
	}
	n.State, n.Drain = spec.NodeDraining, &spec.Drain{Reason: spec.DrainIdle}
	if busy {
		n.Drain.Reason = spec.DrainPreempted
	}
	w.leaveIfIdle(id)
	return nil
}

// leaveIfIdle ends a node that drains and has nothing left to do.
func (w *World) leaveIfIdle(id string) {
	if n := w.nodes[id]; n.State == spec.NodeDraining && !w.runs(id) {
		w.after(time.Second, func() {
			if w.nodes[id] == n {
				w.nodeDies(id, spec.DeathIdle)
			}
		})
	}
}

func (w *World) remove(id string, keep bool) {
	m := w.machines[id]
	if m == nil || m.gone || m.Stopped && keep {
		return
	}
	if w.runs(id) {
		w.broken("terminated %s while it ran something", id)
	}
	w.standing = slices.DeleteFunc(w.standing, func(o *machine) bool { return o == m })
	w.resting = slices.DeleteFunc(w.resting, func(o *machine) bool { return o == m })
	if !keep {
		w.machineDies(id)
		return
	}
	m.Stopped = true
	w.resting = append(w.resting, m)
	w.nodeDies(id, spec.DeathUnexpected)
}

func (w *World) machineDies(id string) {
	w.machines[id].gone = true
	w.nodeDies(id, spec.DeathUnexpected)
}

// nodeDies ends a node; its tasks wait again.
func (w *World) nodeDies(id, kind string) {
	if w.nodes[id] == nil || w.nodes[id].State == spec.NodeDead {
		return
	}
	w.nodes[id].State, w.nodes[id].DeathKind = spec.NodeDead, kind
	for _, t := range w.tasks {
		if t.node == id {
			t.node = ""
		}
	}
}

// notice tells a node that its machine will be taken away in two minutes.
func (w *World) notice(id string) {
	const left = 2 * time.Minute
	n := w.nodes[id]
	n.State = spec.NodeDraining
	n.Drain = &spec.Drain{Reason: spec.DrainPreempted, Message: "spot interruption", DeadlineMS: w.now.Add(left).UnixMilli()}
	w.leaveIfIdle(id)
	w.after(left, func() { w.machineDies(id) })
}

// endHead takes the head's machine away: nothing may be left that somebody pays
// for, and nothing may run.
func (w *World) endHead() {
	if w.manager == nil {
		return // it was asked for by a head that has gone since
	}
	if n := len(w.alive()); n > 0 || len(w.tasks) > 0 {
		w.broken("the head was ended with %d machines and %d tasks left", n, len(w.tasks))
	}
	w.StopHead()
	w.Ended = true
}
