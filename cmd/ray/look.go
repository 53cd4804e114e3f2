package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ray/internal/tui"
)

// look is how a verb prints: upstream's --log-style and --log-color.
type look struct{ style string }

func (l *look) bind(f *pflag.FlagSet) {
	l.style = "auto"
	color := "auto"
	f.Var(choice{[]string{"auto", "record", "pretty"}, &l.style, nil}, "log-style",
		"auto and pretty show progress live on a terminal; record prints lines with their times")
	f.Var(choice{[]string{"auto", "false", "true"}, &color, tui.SetColor}, "log-color",
		"auto has colours on a terminal only; true and false decide")
}

// bindHidden is bind for verbs that have one style only, whatever is chosen.
func (l *look) bindHidden(f *pflag.FlagSet) {
	l.bind(f)
	f.CountP("verbose", "v", "accepted and ignored")
	for _, name := range []string{"log-style", "log-color", "verbose"} {
		_ = f.MarkHidden(name)
	}
}

// writer gives what to print a verb's messages to, each line with its time if
// that is the style.
func (l *look) writer(out io.Writer) io.Writer {
	if l.style != "record" {
		return out
	}
	return &lineWriter{each: func(line string) {
		_, _ = fmt.Fprintf(out, "%s INFO -- %s\n", time.Now().Format("2006-01-02 15:04:05,000"), line)
	}}
}

// choice is an option with few values, in upper or lower case.
type choice struct {
	values []string
	value  *string
	then   func(string) // may be nil
}

// Set implements pflag.Value.
func (c choice) Set(text string) error {
	text = strings.ToLower(text)
	if !slices.Contains(c.values, text) {
		return fmt.Errorf("'%s' is not one of '%s'", text, strings.Join(c.values, "', '"))
	}
	*c.value = text
	if c.then != nil {
		c.then(text)
	}
	return nil
}

func (c choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

// Type implements pflag.Value: what the help shows.
func (c choice) Type() string { return strings.Join(c.values, "|") }
