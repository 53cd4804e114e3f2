package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a cluster file. Line and Column count from 1; they
// are 0 where a field is missing altogether and no better place is known.
type Problem struct {
	File         string `json:"file"`
	Line, Column int
	Path         string `json:"path"` // of the field, as in available_node_types.worker.resources
	Message      string `json:"message"`
}

// String is the problem on one line, in the form that editors jump to.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is everything that is wrong with one file, in the file's order.
type Problems []Problem

// Error lists every problem on a line of its own.
func (ps Problems) Error() string {
	if len(ps) == 1 {
		return ps[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d problems:", ps[0].File, len(ps))
	for _, p := range ps {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.Compact(ps) // a section may have been walked twice
}
