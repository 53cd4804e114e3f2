package owner

import "ray/internal/spec"

// isItem tells whether o is an item that the stream t yielded, and not one of
// the task's returns.
func isItem(t *Task, o *Object) bool {
	return t.Tmpl.Streaming && o.ID.Index() > uint32(t.NReturns)
}

// keepItem makes the task of a stream an item's lineage: a large one can be
// lost, and is then made by running the generator again.
func (s *State) keepItem(t *Task, o *Object, v Value) {
	if o.task == nil && v.Where != Inline && t.Tmpl.MaxRetries != 0 {
		o.task = t
		t.large++
	}
}

// items calls f for each living item of a stream that has lineage.
func (s *State) items(t *Task, f func(*Object)) {
	for n := range t.Items {
		if o := s.objects[t.ID.Return(n+2)]; o != nil && o.task == t {
			f(o)
		}
	}
}

// endItems is for a generator that was run again and is over: items that it did
// not give get the error with which it ended, or one that says so.
func (s *State) endItems(t *Task, results []Result) {
	if !t.kept {
		return
	}
	missing := s.lostItem(t)
	for _, r := range results {
		if r.Value.Err {
			missing = r.Value
		}
	}
	s.items(t, func(o *Object) {
		if o.Where == Pending && o.ID.Index()-1 > t.yielded {
			s.setValue(o, missing)
		}
	})
}

func (s *State) lostItem(t *Task) Value {
	return errorValue(&spec.ErrorInfo{Type: "ObjectReconstructionFailedError",
		Message: "generator " + t.Tmpl.Name + " was run again to make a lost item, and yielded fewer items than before"})
}

// makeItemsAgain runs a generator that is over once more, because items that it
// had given while it ran are lost.
func (s *State) makeItemsAgain(t *Task) {
	t.again = false
	var wanted []*Object
	s.items(t, func(o *Object) {
		if o.Where == Pending {
			o.Where = Lost
			wanted = append(wanted, o)
		}
	})
	for _, o := range wanted { // the first starts it, the others wait with it; or all fail
		s.remake(o)
	}
}
