package owner

import (
	"encoding/base64"

	"ray/internal/spec"
	"ray/internal/wire"
)

// argumentText begins the message of a task that did not run.
const argumentText = "At least one of the input arguments for this task could not be computed"

// mostNames bounds the names that the error of a long chain of tasks carries:
// the first ones, nearest to who reads it.
const mostNames = 20

// ArgumentError is the error of a task of that name, which did not run because
// its argument o is an error. It carries that error as it is, in field "error" (base64 of the
// blob), and in "tasks" the names of the tasks that fell with it, this one first. A
// chain of tasks is kept flat: no error is encoded twice.
func ArgumentError(task string, o *Object) *spec.ErrorInfo {
	if o.Where != Inline {
		return &spec.ErrorInfo{Type: "RaySystemError", Message: "an argument of " + task +
			" failed, and its error is too large to pass on (object " + o.ID.String() + ")"}
	}
	names, blob := []any{task}, base64.StdEncoding.EncodeToString(o.Blob)
	if inner := wire.ErrorOf(o.Blob); inner != nil {
		if held, ok := inner.Fields["error"].(string); ok {
			older, _ := inner.Fields["tasks"].([]any)
			names, blob = append(names, older...), held
		}
	}
	names = names[:min(len(names), mostNames)]
	return &spec.ErrorInfo{Type: "RayTaskError", Message: argumentText, Fields: map[string]any{"tasks": names, "error": blob}}
}
