package runtimeenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// imageField names the image that workers run in.
type imageField struct {
	Image   string   `json:"image"`
	Options []string `json:"run_options"` // of podman run, in front of the image
}

// UnmarshalJSON takes an image (image_uri) or an object (container).
func (i *imageField) UnmarshalJSON(text []byte) error {
	type plain imageField
	if text[0] == '"' {
		return json.Unmarshal(text, &i.Image)
	}
	return json.Unmarshal(text, (*plain)(i))
}

// besideImage are the fields that image_uri and container leave a meaning.
var besideImage = map[string][]string{
	"image_uri": {"config", "env_vars"},
	"container": {"config", "env_vars", "working_dir", "py_modules"},
}

// checkImage refuses an image without a name, or with a field beside it that
// the image decides itself.
func (f *fields) checkImage(given []string) error {
	for field, allowed := range besideImage {
		if !slices.Contains(given, field) {
			continue
		}
		for _, name := range given {
			if name != field && !slices.Contains(allowed, name) && !slices.Contains(senders, name) {
				return fmt.Errorf("the fields %s and %s of runtime_env exclude each other: build what is needed into the image", field, name)
			}
		}
	}
	switch image := f.image(); {
	case image == nil:
		return nil
	case image.Image == "" || strings.HasPrefix(image.Image, "-"):
		return fmt.Errorf("the runtime_env names no image: %q", image.Image)
	}
	return nil
}

func (f *fields) image() *imageField {
	if f.ImageURI != nil {
		return f.ImageURI
	}
	return f.Container
}

// containerTool runs images. The workers' fork server keeps a socket of the
// daemon, which docker's containers cannot be given.
const containerTool = "podman"

// inImage makes a script that runs the image's Python in a container: a fork
// server can then be started from it as from any interpreter. The container
// shares the machine's network, processes and shared memory, and sees the
// session's folder: its workers are like any other.
func (m *Manager) inImage(ctx context.Context, r Request, image *imageField, out *Env) error {
	tool := firstFound([]string{containerTool})
	if tool == "" {
		return fmt.Errorf("image %s: %s was not found on this node's PATH: install it there", image.Image, containerTool)
	}
	if out.Cwd == "" {
		out.Cwd = "/" // the driver's folder is not in the image
	}
	script, err := m.containerScript(tool, image, out)
	if err != nil {
		return err
	}
	root, err := m.obtain(ctx, r, recipe{
		id:    "image-" + digest(script),
		title: "image: " + masked(image.Image),
		make: func(ctx context.Context, root string, log *output) error {
			if err := os.Mkdir(root, 0o700); err != nil {
				return err
			}
			pull := step{args: []string{"/bin/sh", "-c", `"$0" image exists "$1" || exec "$0" pull "$1"`, tool, image.Image}}
			if err := runStep(ctx, pull, log); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(root, "python"), []byte(script), 0o700)
		},
	})
	out.Python = filepath.Join(root, "python")
	return err
}

func (m *Manager) containerScript(tool string, image *imageField, out *Env) (string, error) {
	words := []string{tool, "run", "--rm", "--network=host", "--pid=host", "--ipc=host", "--security-opt=label=disable",
		"--log-driver=none", "--workdir=/", "--env=RAY_*"}
	if os.Geteuid() != 0 {
		words = append(words, "--userns=keep-id") // root's containers have no other users
	}
	limits, err := ulimits()
	if err != nil {
		return "", err
	}
	words = append(words, limits...)
	for _, name := range slices.Sorted(maps.Keys(out.ServerVars)) {
		words = append(words, "--env="+name) // with the value of the fork server's environment
	}
	for _, dir := range m.cfg.Mounts {
		words = append(words, "--volume="+dir+":"+dir)
	}
	words = append(words, image.Options...)
	for i, w := range words {
		words[i] = quoted(w)
	}
	// The daemon's socket is descriptor 3 of a fork server; a script that only
	// asks for the version has none.
	return "#!/bin/sh\nkeep=0\n[ -e /proc/$$/fd/3 ] && keep=1\nexec " + strings.Join(words, " ") +
		` --preserve-fds="$keep" --entrypoint=python3 ` + quoted(image.Image) + ` "$@"` + "\n", nil
}

// rlimitNproc is RLIMIT_NPROC, which package syscall does not name.
const rlimitNproc = 6

// mostProcesses is the kernel's usual pid_max. Podman 4.3 was seen to refuse a
// larger limit where it may not raise limits, whatever the daemon's own is.
const mostProcesses = 1 << 15

// ulimits gives the container the daemon's own limits: podman would ask for
// more than a machine that is itself a container may give.
func ulimits() ([]string, error) {
	var files, processes syscall.Rlimit
	if err := errors.Join(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files), syscall.Getrlimit(rlimitNproc, &processes)); err != nil {
		return nil, fmt.Errorf("the limits of the daemon cannot be read: %w", err)
	}
	n := min(processes.Cur, processes.Max, mostProcesses)
	return []string{fmt.Sprintf("--ulimit=nofile=%d:%d", files.Cur, files.Max), fmt.Sprintf("--ulimit=nproc=%d:%d", n, n)}, nil
}
