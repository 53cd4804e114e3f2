package owner

import "ray/internal/spec"

// unmakeable says why no task can make an object again.
func unmakeable(o *Object) string {
	id := o.ID.TaskID()
	switch {
	case id.IsActorTask():
		return "it was made by an actor, whose methods are not run again (max_task_retries=0)"
	case id.IsPut():
		return "it was stored with ray.put, so that no task can make it again"
	}
	return "the task that made it was created with max_retries=0, or is not known any more"
}

// lostError says what was lost, where and why.
func (s *State) lostError(o *Object, kind, why string) *spec.ErrorInfo {
	text := "all copies of object " + o.ID.String() + " are lost"
	switch {
	case !o.lostOn.IsZero() && o.lostWhy != "":
		text += ", the last one on node " + o.lostOn.String() + ": " + o.lostWhy
	case !o.lostOn.IsZero():
		text += ", the last one with node " + o.lostOn.String() + ", which " + s.end(o.lostOn)
	}
	if site := o.Site(0); site != "" {
		why += ". The ObjectRef was created at: " + site
	}
	return &spec.ErrorInfo{Type: kind, Message: text + "; " + why,
		Fields: map[string]any{"object_id": o.ID.String(), "reason": why}}
}
