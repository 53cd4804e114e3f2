package bootstrap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"ray/internal/cluster"
	"ray/internal/sshx"
)

// Inside gives the host on which a node's commands run: the machine, or the
// container on it where the cluster file has a docker section. env is set for
// every command in the container.
func Inside(n *Node) sshx.Host {
	d, ok := n.Config.Docker(n.Instance.Type, n.Head())
	if !ok {
		return n.Host
	}
	return &sshx.Container{Outer: n.Host, Engine: d.Engine, Name: d.Container, Env: map[string]string{"PATH": "~/.ray/bin"}}
}

// ContainerRuns tells whether the node's container runs; true where there is
// to be none.
func ContainerRuns(ctx context.Context, n *Node) (bool, error) {
	d, ok := n.Config.Docker(n.Instance.Type, n.Head())
	if !ok {
		return true, nil
	}
	image, err := runningImage(ctx, n.Host, d)
	return image != "", err
}

// StopContainer ends the node's container, if there is to be one.
func StopContainer(ctx context.Context, n *Node) error {
	d, ok := n.Config.Docker(n.Instance.Type, n.Head())
	if !ok {
		return nil
	}
	_, err := sshx.Output(ctx, n.Host, "{ "+removal(d)+"; } >/dev/null 2>&1 || true")
	return err
}

// removal is the command that ends a container at once. Podman would give its
// shell, which ignores the signal, ten seconds first.
func removal(d cluster.Docker) string {
	name := sshx.Quote(d.Container)
	if d.Engine == "podman" {
		return "{ podman kill " + name + "; podman rm -f " + name + "; } >/dev/null 2>&1; ! podman container exists " + name
	}
	return d.Engine + " rm -f " + name
}

// runningImage is the image of the container that runs under the name, "" if
// none does.
func runningImage(ctx context.Context, h sshx.Host, d cluster.Docker) (string, error) {
	out, err := sshx.Output(ctx, h, d.Engine+" inspect -f '{{.State.Running}} {{.Config.Image}}' "+sshx.Quote(d.Container)+" 2>/dev/null || true")
	state, image, _ := strings.Cut(strings.TrimSpace(out), " ")
	if err != nil || state != "true" {
		return "", err
	}
	return image, nil
}

// container gets the node's container running and makes it the host of what
// follows.
func (r *Run) container(ctx context.Context) error {
	d, _ := r.Config.Docker(r.Instance.Type, r.Head())
	if err := r.onMachine(ctx); err != nil {
		return err
	}
	if out, err := sshx.Output(ctx, r.Host, "command -v "+d.Engine+" || true"); err != nil || out == "" {
		if err != nil {
			return err
		}
		install := "curl -fsSL https://get.docker.com | sudo sh, and sudo usermod -aG docker $USER"
		if d.Engine == "podman" {
			install = "sudo apt-get update && sudo apt-get -y install podman"
		}
		return fmt.Errorf("%s is not installed there; add to initialization_commands: %s", d.Engine, install)
	}
	image, err := runningImage(ctx, r.Host, d)
	if err != nil {
		return err
	}
	if image != d.Image {
		if err := r.runContainer(ctx, d, image != ""); err != nil {
			return err
		}
	}
	r.Host = Inside(&r.Node)
	return nil
}

// runContainer pulls the image and runs it, in place of another one if there
// is one.
func (r *Run) runContainer(ctx context.Context, d cluster.Docker, replace bool) error {
	image := sshx.Quote(d.Image)
	pull := d.Engine + " pull " + image
	if !d.Pull {
		pull = d.Engine + " image inspect " + image + " >/dev/null 2>&1 || " + pull
	}
	lines := []string{pull}
	if replace {
		lines = append(lines, removal(d))
	}
	options, err := r.detected(ctx, d)
	if err != nil {
		return err
	}
	words := []string{d.Engine, "run", "--rm", "--name", sshx.Quote(d.Container), "-d", "-it", "-e", "LC_ALL=C.UTF-8", "-e", "LANG=C.UTF-8"}
	words = append(append(words, options...), "--net=host", image, "bash")
	return r.commands(ctx, append(lines, strings.Join(words, " ")))
}

// detected are the file's options with what the machine has: GPUs, and shared
// memory for the object store, of which engines give 64 MB.
func (r *Run) detected(ctx context.Context, d cluster.Docker) ([]string, error) {
	out := slices.Clone(d.Options)
	if d.Runtime {
		gpu, err := sshx.Output(ctx, r.Host, d.Engine+" info -f '{{.Runtimes}}' 2>/dev/null | grep -q nvidia && nvidia-smi >/dev/null 2>&1 && echo yes || true")
		if err != nil {
			return nil, err
		}
		if gpu == "yes" {
			out = append(out, "--runtime=nvidia")
		}
	}
	given := func(o string) bool { return strings.Contains(o, "--shm-size") }
	if d.Shm && !slices.ContainsFunc(out, given) {
		kib, err := sshx.Output(ctx, r.Host, "awk '/^MemAvailable:/ {print $2}' /proc/meminfo")
		if err != nil {
			return nil, err
		}
		if n, err := strconv.ParseInt(kib, 10, 64); err == nil {
			out = append(out, "--shm-size="+sshx.Quote(strconv.FormatInt(shmSize(n*1024), 10)+"b"))
		}
	}
	return out, nil
}

// shmSize is the shared memory of a container on a machine with so many bytes
// available: the object store's share, and some more.
func shmSize(available int64) int64 {
	return min(int64(float64(available)*0.3*1.1), 200e9)
}

// onMachine runs the initialization commands on the machine, before there is a
// container, unless the same ones have run.
func (r *Run) onMachine(ctx context.Context) error {
	list := r.Config.NodeTypes[r.Instance.Type].InitCommands
	sum := sha256.Sum256([]byte(strings.Join(list, "\x00")))
	want, path := hex.EncodeToString(sum[:]), r.marker()+"-init"
	have, err := r.Host.ReadFile(ctx, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.TrimSpace(string(have)) == want || len(list) == 0 {
		return nil
	}
	if err := r.commands(ctx, list); err != nil {
		return err
	}
	return r.Host.WriteFile(ctx, path, []byte(want+"\n"), 0o600)
}
