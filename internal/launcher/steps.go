package launcher

import (
	"context"
	"fmt"
	"strings"
)

// step is one step of a verb.
type step[T any] struct {
	title string
	do    func(run T, ctx context.Context) error
}

// runSteps carries the steps out until one fails; begin is told of each.
func runSteps[T any](ctx context.Context, run T, steps []step[T], begin func(number, of int, title string)) error {
	for i, s := range steps {
		if begin != nil {
			begin(i+1, len(steps), s.title)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: stopped: %w", strings.ToLower(s.title), err)
		}
		if err := s.do(run, ctx); err != nil {
			return err
		}
	}
	return nil
}

// say prints a line for people.
func (c *Cluster) say(format string, args ...any) {
	if c.l.Out != nil {
		_, _ = fmt.Fprintf(c.l.Out, format+"\n", args...)
	}
}

// warnf prints a line about what went wrong, besides the error.
func (c *Cluster) warnf(format string, args ...any) {
	if c.l.ErrOut != nil {
		_, _ = fmt.Fprintf(c.l.ErrOut, format+"\n", args...)
	}
}

// ask asks a question; nil means yes.
func (c *Cluster) ask(question string) error {
	if c.l.Confirm == nil {
		return nil
	}
	yes, err := c.l.Confirm(question)
	if err == nil && !yes {
		err = errDeclined
	}
	return err
}
