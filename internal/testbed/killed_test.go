package testbed_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/testbed/fault"
)

// A launcher that is killed outright leaves nothing that the next `up` does
// not go on with and the next `down` does not end, wherever it was, and
// however late the cloud shows what it made.
func TestKilledUp(t *testing.T) {
	if !inside(t, "--cloud", "aws") {
		return
	}
	home := os.Getenv("HOME")
	bed{t, home}.control("POST", "/lag?for=1s", nil, nil)
	for n, at := range []string{
		`"intent","op":"prepare"`, `"outcome","op":"prepare"`, `"intent","op":"create"`, `"outcome","op":"create"`, atStart,
	} {
		for _, next := range []string{"up", "down"} {
			name := fmt.Sprintf("%s%d", next, n)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				bed{t, filepath.Join(home, name)}.killedUp(name, at, next)
			})
		}
	}
}

func (b bed) killedUp(name, at, next string) {
	instanceType := map[string]string{"up": "m5.", "down": "c5."}[next] + []string{"large", "xlarge", "2xlarge", "4xlarge", "9xlarge"}[name[len(name)-1]-'0']
	if instanceType == "m5.9xlarge" { // there is none
		instanceType = "m5.8xlarge"
	}
	file := b.headOnly(name, instanceType, slowStart(at))
	// Long enough for the kill to come first.
	b.control("POST", "/faults", fault.Fault{Action: "RunInstances", Where: map[string]string{"InstanceType": instanceType}, Seconds: 0.5, Count: 1}, nil)
	b.killedAt(at, file)
	b.goesOn(next, file, instanceType)
}

// atStart is the point in a launcher's work after those of its journal.
const atStart = "starting"

// slowStart are start commands that take long enough to be killed at.
func slowStart(at string) string {
	hang := "true"
	if at == atStart {
		hang = "sleep 3"
	}
	return fmt.Sprintf("head_start_ray_commands: ['%s', ray stop, 'ray start --head --autoscaling-config=~/ray_bootstrap_config.yaml']\n", hang)
}

// killedAt is an `up` that is killed when its journal has a line, or at its start commands.
func (b bed) killedAt(at, file string) {
	b.Helper()
	cmd := b.cmd("up", "-y", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	switch {
	case at != atStart:
		b.until("the journal has "+at, func() bool { return strings.Contains(b.journal(), at) })
	case !waitFor(out, "(1/3)"):
		b.Fatal("it never started the head")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// goesOn checks that the next `up`, if one is asked for, makes no second head,
// and that `down` leaves nothing.
func (b bed) goesOn(next, file, instanceType string) {
	b.Helper()
	if next == "up" {
		b.ray("up", "-y", file)
		if heads := b.live(instanceType); len(heads) != 1 {
			b.Errorf("the next up made %+v", heads)
		}
		b.ray("exec", file, "ray list nodes")
	}
	b.gone(file, instanceType)
}

func (b bed) journal() string {
	files, _ := filepath.Glob(filepath.Join(b.home, ".local/state/ray/clusters/*/journal.jsonl"))
	if len(files) != 1 {
		return ""
	}
	text, _ := os.ReadFile(files[0]) // "" if it is gone
	return string(text)
}
