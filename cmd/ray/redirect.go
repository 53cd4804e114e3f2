package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"

	"ray/internal/bootstrap"
)

// outputFiles is `ray up --redirect-command-output`: what each command on a node
// prints goes to a file of its own here, and is not shown.
type outputFiles struct {
	next func(bootstrap.Event)

	mu   sync.Mutex
	open map[string]*os.File // by instance
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9]+`)

// event takes one piece of progress and hands on what is to be shown.
func (f *outputFiles) event(e bootstrap.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file := f.open[e.Instance]
	if e.Phase == bootstrap.Output && file != nil {
		_, _ = fmt.Fprintln(file, e.Text) // a full disk here must not end the node's set-up
		return
	}
	f.next(e)
	if file != nil {
		_ = file.Close()
		delete(f.open, e.Instance)
	}
	if e.Phase != bootstrap.Command {
		return
	}
	_, line, _ := strings.Cut(e.Text, ") ") // after (1/3)
	name := strings.Trim(notInName.ReplaceAllString(line, "-"), "-")
	file, err := os.CreateTemp("", "ray-up-"+name[:min(len(name), 30)]+"-*.txt")
	said := e
	said.Phase, said.Text = bootstrap.Output, ""
	if err != nil {
		said.Text = "its output is shown: " + err.Error()
	} else {
		f.open[e.Instance] = file
		said.Text = "its output is in " + file.Name()
	}
	f.next(said)
}

// close ends what a set-up that broke off has left open.
func (f *outputFiles) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, file := range f.open {
		_ = file.Close()
	}
	f.open = nil
}
