package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options say what a world is like.
type Options struct {
	Cloud string // static, aws or gcp
	Hosts int    // how many, of static
	// Binds are directories of the machine below a home that hosts need.
	Binds []string
	Path  string // goes first in the PATH of hosts
	Moto  string // the program, of aws
	// MotoSettings are more of moto's environment, as in moto.Policies.
	MotoSettings []string
	BootDelay    time.Duration // from an instance's state running to its power-on
	PageSize     int           // of lists of instances; 0 is the cloud's own
	Latency      time.Duration // of operations, of gcp
}

// Laptop is the world's machine for the command: it makes the cloud or the
// static hosts, runs the command beside them and returns its exit status. The
// command has a HOME of its own, and in its environment how to reach them:
//
//   - static: TESTBED_HOSTS (addresses separated by spaces), TESTBED_USER, TESTBED_KEY (the private key);
//   - aws: AWS_ENDPOINT_URL, and credentials;
//   - gcp: TESTBED_ENDPOINT for provider.api_endpoint, TESTBED_PROJECT, TESTBED_REGION;
//   - both clouds: TESTBED_CONTROL, the address of the bed's controls;
//   - all: TESTBED_CLOUD.
func Laptop(o Options, command []string) (int, error) {
	home := filepath.Join(stateDir, "home")
	for _, d := range []string{".ssh", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, d), 0o700); err != nil {
			return 1, err
		}
	}
	env, end, err := open(o, home)
	if err != nil {
		return 1, err
	}
	defer end()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home+"/tmp", "RAY_TMPDIR="+home+"/tmp", "TESTBED_CLOUD="+o.Cloud)
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, fmt.Errorf("running %s: %w", command[0], err)
	}
	return 0, nil
}

func open(o Options, home string) (env map[string]string, end func(), err error) {
	var c *cloud
	switch o.Cloud {
	case "aws":
		c, err = aws(o)
	case "gcp":
		c, err = gcp(o)
	default:
		return static(o, home)
	}
	if err != nil {
		return nil, nil, err
	}
	c.fleet.env = withPath(c.fleet.env, o.Path)
	if err := errors.Join(c.serve(), serve(controlAddr, c.controls())); err != nil {
		return nil, nil, err
	}
	c.env["TESTBED_CONTROL"] = "http://" + controlAddr
	ctx, cancel := context.WithCancel(context.Background())
	var follower sync.WaitGroup
	follower.Go(func() { c.follow(ctx) })
	return c.env, func() {
		cancel()
		follower.Wait()
		c.close()
		c.stop()
	}, nil
}

func withPath(env map[string]string, first string) map[string]string {
	out := map[string]string{}
	for k, v := range env {
		out[k] = v
	}
	if first != "" {
		out["PATH"] = first + ":$PATH"
	}
	return out
}

// static boots the hosts of a cluster file that names them.
func static(o Options, home string) (env map[string]string, end func(), err error) {
	key := filepath.Join(home, ".ssh", "id_ed25519")
	if err := makeKey(key); err != nil {
		return nil, nil, err
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return nil, nil, err
	}
	line := strings.TrimSpace(string(public))
	hosts, errs, addrs := make([]*Host, o.Hosts), make([]error, o.Hosts), make([]string, o.Hosts)
	var all sync.WaitGroup
	for n := range hosts {
		addrs[n] = fmt.Sprintf("172.31.%d.%d", n/250, n%250+1)
		all.Go(func() {
			hosts[n], errs[n] = NewHost(Spec{
				Addr: addrs[n], Keys: map[string]string{User: line, "root": line}, Binds: o.Binds, Env: withPath(nil, o.Path),
			})
			if errs[n] == nil {
				errs[n] = hosts[n].Boot()
			}
		})
	}
	all.Wait()
	env = map[string]string{"TESTBED_HOSTS": strings.Join(addrs, " "), "TESTBED_USER": User, "TESTBED_KEY": key}
	return env, func() {
		for _, h := range hosts {
			h.Crash()
		}
	}, errors.Join(errs...)
}
