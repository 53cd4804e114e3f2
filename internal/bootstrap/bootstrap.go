// Package bootstrap turns a host that can be reached into a running node: it
// waits for the host, brings the program, the token and the files there, runs
// the set-up commands and starts the node. The launcher uses it for the head,
// the head's autoscaler for workers.
//
// The work is a list of steps (Steps), each of which looks before it acts, so
// that running the list again repairs a node or does nothing.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
)

// Node is one node that is to run.
type Node struct {
	Config   *cluster.Config
	Instance providers.Instance
	Host     sshx.Host
	Traits   providers.Traits
	// HeadAddress is the head's host:port; empty for the head itself.
	HeadAddress string
	// TokenFile is the cluster's token on this machine.
	TokenFile string
	// Ray is the program on this machine, copied to hosts that are others.
	Ray string
	// Files are written to the host: path → contents. They are private.
	Files map[string][]byte
	// Start says whether the start commands run: always, never (NoRestart on a
	// head that runs), or also when nothing else changed.
	NoRestart, RestartOnly bool
	// PlainShells runs commands without the user's start-up files.
	PlainShells bool
	// Tags is the provider, whose tags say how far the node is if it is a
	// providers.Tagger; nil says nothing.
	Tags providers.Provider
	// Wait bounds waiting for the host; 0 is 15 minutes.
	Wait time.Duration
	// Settled is asked once the host answers and no other launcher is at it;
	// true ends the set-up: another has done it. nil is false.
	Settled func(context.Context) (bool, error)
	// BeforeStart, if it is not nil, is called when all is ready for the start
	// commands. ErrSettled ends the set-up as done without them.
	BeforeStart func(context.Context) error
}

// ErrSettled says that the node runs already, by the hand of another.
var ErrSettled = errors.New("the node runs already")

// Head tells whether the node is the head.
func (n *Node) Head() bool { return n.Instance.Kind == providers.Head }

// Phase is how far a step is.
type Phase string

// Phases of a step.
const (
	Begun   Phase = "begun"
	Done    Phase = "done"
	Skipped Phase = "skipped"
	Failed  Phase = "failed"
	Output  Phase = "output" // one line that a command printed
	Command Phase = "command"
)

// Event is one piece of progress.
type Event struct {
	Instance string        `json:"instance"`
	NodeType string        `json:"node_type"`
	Number   int           `json:"number"` // of the step, from 1
	Of       int           `json:"of"`
	Step     string        `json:"step"`
	Phase    Phase         `json:"phase"`
	Text     string        `json:"text,omitempty"` // the command, the output line, the reason
	Took     time.Duration `json:"took,omitempty"`
}

// Step is one thing to do, to be repeated at will.
type Step struct {
	Title string
	// Skip gives a reason to leave the step out, "" if there is none.
	Skip func(r *Run, ctx context.Context) string
	Do   func(r *Run, ctx context.Context) error
}

// Run is the state that the steps of one node share.
type Run struct {
	Node
	report func(Phase, string)
	// same is set when the host already is what the file asks for, sameHead when
	// it is as far as a head is concerned.
	same, sameHead           bool
	hash, headHash, contents string
	unlock                   func() // lets other launchers at the host
}

// StepError is a step that failed.
type StepError struct {
	Host    string
	Step    string
	Command string   // the command that failed, if it was one
	Tail    []string // the last lines that it printed, at most 20
	Err     error
}

func (e *StepError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: ", e.Host, strings.ToLower(e.Step))
	if e.Command != "" {
		fmt.Fprintf(&b, "command failed: %s\n  %v", e.Command, e.Err)
	} else {
		b.WriteString(e.Err.Error())
	}
	if len(e.Tail) > 0 {
		b.WriteString("; it printed last:")
		for _, line := range e.Tail {
			b.WriteString("\n  | " + line)
		}
	}
	if hint := e.hint(); hint != "" {
		b.WriteString("\n" + hint)
	}
	return b.String()
}

// What commands print when a machine is not as they need it.
var (
	reLoginAs     = regexp.MustCompile(`Please login as the user "([^"]+)" rather than`)
	reNoSudo      = regexp.MustCompile(`sudo: (?:a password is required|a terminal is required|no tty present|sorry, you must have a tty)|is not in the sudoers file|is not allowed to execute`)
	reNoSudoThere = regexp.MustCompile(`sudo: (?:command )?not found`)
	reClock       = regexp.MustCompile(`Release file for .* is not valid yet|[Cc]ertificate (?:is not yet valid|has expired or is not yet valid)|[Ss]ignature not yet current|server certificate verification failed.*(?:not activated|expired)`)
)

// hint says what to do about the failures that are the machine's.
func (e *StepError) hint() string {
	said := strings.Join(e.Tail, "\n")
	if e.Err != nil {
		said += "\n" + e.Err.Error()
	}
	user := reLoginAs.FindStringSubmatch(said)
	switch {
	case user != nil:
		return "The image of " + e.Host + " wants another user: set auth.ssh_user to " + user[1] + " in the cluster file."
	case reNoSudo.MatchString(said):
		return "The user of " + e.Host + " may not use sudo without a password: give it that right (NOPASSWD in /etc/sudoers), set auth.ssh_user to one who has it, or take sudo out of the commands."
	case reNoSudoThere.MatchString(said):
		return "There is no sudo on " + e.Host + ": install it there, or take it out of the commands."
	case reClock.MatchString(said):
		return "The clock of " + e.Host + " is probably wrong: compare `date` there with yours, and start its time service (sudo timedatectl set-ntp true)."
	case strings.Contains(strings.ToLower(said), "no space left on device"):
		return "The disk of " + e.Host + " is full: free some of it, or ask for a larger one in node_config (AWS: BlockDeviceMappings, Google Cloud: disks)."
	case strings.Contains(said, "Cannot allocate memory"):
		return "The memory of " + e.Host + " is used up: ask for a larger machine in node_config."
	}
	return ""
}

func (e *StepError) Unwrap() error { return e.Err }

// Steps is everything that is done to a node's host, in order.
func Steps(n *Node) []Step {
	steps := []Step{
		{Title: stepAwait, Do: (*Run).await},
		{Title: stepContainer, Do: (*Run).container},
		{Title: "Copying the program", Skip: (*Run).onThisMachine, Do: (*Run).program},
		{Title: "Writing the token", Skip: (*Run).onThisMachine, Do: (*Run).token},
		{Title: "Comparing with what is there", Do: (*Run).compare},
		{Title: stepFiles, Do: (*Run).files},
		{Title: stepInitialize, Skip: (*Run).isSetUp, Do: (*Run).initialize},
		{Title: stepSetup, Skip: (*Run).isSetUp, Do: (*Run).setup},
		{Title: "Starting the node", Skip: (*Run).keepRunning, Do: (*Run).start},
	}
	if _, ok := n.Config.Docker(n.Instance.Type, n.Head()); !ok {
		return slices.DeleteFunc(steps, func(s Step) bool { return s.Title == stepContainer })
	}
	return slices.DeleteFunc(steps, func(s Step) bool { return s.Title == stepInitialize })
}

// Steps that are known by their titles. Not every node has all: initialization
// commands are run on the machine before its container, which is one step.
const (
	stepAwait      = "Waiting for the host"
	stepFiles      = "Copying files"
	stepSetup      = "Running setup commands"
	stepContainer  = "Starting the container"
	stepInitialize = "Running initialization commands"
)

// Start runs the steps; progress may be nil. The first failure ends it, as a
// *StepError; what was done stays, for a look or another try.
func Start(ctx context.Context, n Node, progress func(Event)) error {
	if progress == nil {
		progress = func(Event) {}
	}
	steps := Steps(&n)
	r := &Run{Node: n, unlock: func() {}}
	defer func() { r.unlock() }()
	tags := newTagger(ctx, &n)
	defer tags.close()
	for i, step := range steps {
		event := Event{Instance: n.Instance.ID, NodeType: n.Instance.Type, Number: i + 1, Of: len(steps), Step: step.Title}
		r.report = func(phase Phase, text string) {
			e := event
			e.Phase, e.Text = phase, text
			progress(e)
		}
		if step.Skip != nil {
			if why := step.Skip(r, ctx); why != "" {
				r.report(Skipped, why)
				continue
			}
		}
		r.report(Begun, "")
		tags.status(statusAt[step.Title], nil)
		begun := time.Now()
		err := step.Do(r, ctx)
		if errors.Is(err, ErrSettled) {
			r.report(Skipped, err.Error())
			return nil
		}
		if err != nil {
			tags.status(statusFailed, nil)
			r.report(Failed, err.Error())
			return asStepError(err, n.Host.String(), step.Title)
		}
		event.Took = time.Since(begun)
		r.report(Done, "")
		if step.Title != stepAwait || n.Settled == nil {
			continue
		}
		if done, err := n.Settled(ctx); done || err != nil {
			return err
		}
	}
	tags.status(statusReady, map[string]string{providers.TagRuntime: r.hash, providers.TagContents: r.contents})
	return nil
}

func asStepError(err error, host, step string) error {
	var e *StepError
	if errors.As(err, &e) {
		e.Host, e.Step = host, step
		return e
	}
	return &StepError{Host: host, Step: step, Err: err}
}

// Env is the environment of everything that runs on a node.
func Env(n *Node) map[string]string {
	env := map[string]string{
		"RAY_CLOUD_INSTANCE_ID": n.Instance.ID, "RAY_NODE_TYPE_NAME": n.Instance.Type,
		"RAY_CLUSTER_NAME": n.Config.Name, "RAY_AUTH_TOKEN_PATH": remoteToken(n),
	}
	if r := Resources(n); r != "" {
		env["RAY_OVERRIDE_RESOURCES"] = r
	}
	if l := labels(n); l != "" {
		env["RAY_OVERRIDE_LABELS"] = l
	}
	if cloud := n.Config.Provider.Type; cloud == "aws" || cloud == "gcp" {
		env["RAY_CLOUD_PROVIDER"] = cloud // whose metadata service to watch
	}
	if n.HeadAddress != "" {
		env["RAY_HEAD_ADDRESS"] = n.HeadAddress
		env["RAY_HEAD_IP"] = n.HeadAddress
		if i := strings.LastIndexByte(n.HeadAddress, ':'); i >= 0 {
			env["RAY_HEAD_IP"] = strings.Trim(n.HeadAddress[:i], "[]")
		}
	}
	return env
}
