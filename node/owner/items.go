package owner

import "ray/internal/spec"

// isItem tells whether o is an item that the stream t yielded, and not one of
// the task's returns.
func isItem(t *Task, o *Object) bool {
	return t.Tmpl.Yields() && o.ID.Index() > uint32(t.NReturns)
}

// wantsItem tells whether anyone can have use for an item that is not there.
func (s *State) wantsItem(t *Task, index uint32) bool {
	if t.Tmpl.Dynamic {
		return s.referring(t)
	}
	// Otherwise an earlier attempt's was delivered, and is not wanted any more; or
	// the stream has ended, and what is made again is longer than it was.
	return !t.kept && index-1 > t.Items
}

// referring tells whether the value with the references to the items is still to be made.
func (s *State) referring(t *Task) bool {
	o := s.objects[t.ID.Return(1)]
	return o != nil && o.Where == Pending
}

// holdItem keeps an item until the value that refers to it is there.
func (s *State) holdItem(t *Task, o *Object) {
	if !o.loose && s.referring(t) {
		o.loose = true
		o.pins++
	}
}

// letGoOfItems undoes holdItem.
func (s *State) letGoOfItems(t *Task) {
	for n := range t.Items {
		if o := s.objects[t.ID.Return(n+2)]; o != nil && o.loose {
			o.loose = false
			s.unpin(spec.Ref{ID: o.ID})
		}
	}
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
	if o := s.objects[t.ID.Return(t.yielded+1)]; t.Tmpl.Dynamic && o != nil && o.Err && o.Where == Inline {
		missing = Value{Where: Inline, Err: true, Blob: o.Blob} // it raised: this is its last item
	}
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
	e := &spec.ErrorInfo{Type: "ObjectReconstructionFailedError",
		Message: "generator " + t.Tmpl.Name + " was run again to make a lost item, and yielded fewer items than before"}
	if t.Tmpl.Dynamic { // the number of its items was a promise: breaking it is the task's own error
		e.Type, e.Fields = "RayTaskError", map[string]any{"raised": t.Tmpl.Name}
	}
	return errorValue(e)
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
