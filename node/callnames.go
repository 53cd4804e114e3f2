package node

import (
	"strings"

	"ray/node/owner"
)

// reprName is what the actor of a call calls itself, or "".
func (r *run) reprName() string {
	if r.actor == nil || r.spec.Kind != owner.KindCall {
		return ""
	}
	return r.actor.repr
}

// callName is the name of a call that has not been given one: an actor that
// calls itself something stands in it for its class.
func callName(t *owner.Template, repr string) string {
	short := shortName(t)
	if repr == "" || t.Name != short {
		return t.Name
	}
	return repr + short[strings.LastIndex(short, "."):]
}
