package bootstrap

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
)

// engine is a docker command whose containers are directories: it notes how it
// is called, and runs what is to be run in a container with a home there.
const engine = `#!/bin/bash
root=$(dirname "$0")
line="$*"
case $1 in
exec) ;;
*) echo "$line" >>"$root/calls" ;;
esac
case $1 in
pull) [ "$2" != bad/image ] || { echo "pull access denied for bad/image" >&2; exit 1; } ;;
info) echo map ;;
image) exit 1 ;;
inspect)
  [ -d "$root/at/$4" ] || { echo "No such object: $4" >&2; exit 1; }
  echo "true $(cat "$root/at/$4/image")" ;;
rm) rm -rf "$root/at/$3" ;;
run)
  mkdir -p "$root/at/$4/home"
  words=($line)
  echo "${words[-2]}" >"$root/at/$4/image" ;;
exec)
  shift
  while [ "${1#-}" != "$1" ]; do [ "$1" = -e ] && { export "$2"; shift; }; shift; done
  name=$1
  shift
  [ -d "$root/at/$name" ] || { echo "No such container: $name" >&2; exit 1; }
  cd "$root/at/$name/home" && HOME=$PWD PATH="$root:/usr/bin:/bin" exec "$@" ;;
esac
`

func dockerNode(t *testing.T, section string) (n Node, dir string, calls func() []string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write("docker", engine, 0o755)
	token := write("token", "secret", 0o600)
	program := write("program", "#!/bin/bash\necho \"$*\" >>~/ray-calls\n", 0o755)
	cfg, err := cluster.Parse("d.yaml", []byte(`
cluster_name: demo
provider: {type: local, head_ip: 10.0.0.1, worker_ips: []}
auth: {ssh_user: me}
`+section+`
initialization_commands: ["echo init >>"]
setup_commands: ["echo set-up >>~/set-up"]
head_start_ray_commands: ["ray start --head"]
`))
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.Edit(func(doc map[string]any) { doc["initialization_commands"] = []any{"echo init >>" + dir + "/init"} })
	home := filepath.Join(dir, "machine")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	n = Node{
		Config: cfg, Instance: providers.Instance{ID: "i-1", Kind: providers.Head, Type: cfg.HeadType}, TokenFile: token, Ray: program,
		Host:  &sshx.Local{Name: "machine", Home: home, Env: map[string]string{"PATH": dir + ":/usr/bin:/bin", "HOME": home}},
		Files: map[string][]byte{cluster.BootstrapPath: []byte("config")},
	}
	return n, dir, func() []string {
		data, _ := os.ReadFile(filepath.Join(dir, "calls"))
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "info") || strings.HasPrefix(l, "inspect") })
	}
}

func TestNodeInContainer(t *testing.T) {
	n, dir, calls := dockerNode(t, `docker: {image: some/image:1, container_name: box, run_options: [--cpus=2], head_run_options: [--shm-size=1g]}`)
	if err := Start(t.Context(), n, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"pull some/image:1",
		"run --rm --name box -d -it -e LC_ALL=C.UTF-8 -e LANG=C.UTF-8 --cpus=2 --shm-size=1g --net=host some/image:1 bash",
	}
	if !slices.Equal(calls(), want) {
		t.Errorf("calls %q\nwant  %q", calls(), want)
	}
	home := filepath.Join(dir, "at", "box", "home")
	for file, text := range map[string]string{
		filepath.Join(home, "ray_bootstrap_config.yaml"): "config",
		filepath.Join(home, "set-up"):                    "set-up\n",
		filepath.Join(home, "ray-calls"):                 "start --head\n",
		filepath.Join(home, ".ray/demo-token"):           "secret",
		filepath.Join(dir, "init"):                       "init\n",
	} {
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%s: %q %v", file, got, err)
		}
	}
	// Again: nothing but the start; with another image: another container.
	if fit, err := Compare(t.Context(), n); err != nil || fit != Fits {
		t.Errorf("fits: %v %v", fit, err)
	}
	if err := Start(t.Context(), n, nil); err != nil || !slices.Equal(calls(), want) {
		t.Errorf("the second time: %v, calls %q", err, calls())
	}
	n.Config = n.Config.Edit(func(doc map[string]any) { doc["docker"].(map[string]any)["image"] = "other/image" })
	if fit, err := Compare(t.Context(), n); err != nil || fit != Stale {
		t.Errorf("another image: %v %v", fit, err)
	}
	if err := Start(t.Context(), n, nil); err != nil {
		t.Fatal(err)
	}
	if got := calls()[len(want):]; len(got) != 3 || got[1] != "rm -f box" || !strings.HasSuffix(got[2], "other/image bash") {
		t.Errorf("another image: %q", got)
	}
	if init, _ := os.ReadFile(filepath.Join(dir, "init")); string(init) != "init\n" {
		t.Errorf("initialization commands ran again: %q", init)
	}
	if err := StopContainer(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	if runs, err := ContainerRuns(t.Context(), &n); err != nil || runs {
		t.Errorf("stopped: %v %v", runs, err)
	}
}

func TestContainerTrouble(t *testing.T) {
	n, dir, calls := dockerNode(t, `docker: {image: bad/image, container_name: box, pull_before_run: false}`)
	err := Start(t.Context(), n, nil)
	if err == nil || !strings.Contains(err.Error(), "pull access denied for bad/image") || !strings.Contains(err.Error(), "starting the container") {
		t.Error(err)
	}
	if got := calls(); !slices.Equal(got, []string{"image inspect bad/image", "pull bad/image"}) {
		t.Errorf("calls %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "docker")); err != nil {
		t.Fatal(err)
	}
	h := n.Host.(*sshx.Local)
	h.Env["PATH"] = bare(t)
	if err := Start(t.Context(), n, nil); err == nil || !strings.Contains(err.Error(), "docker is not installed there") {
		t.Error(err)
	}
}

// bare is a directory with what bootstrap needs and no engine.
func bare(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bash", "cat", "mkdir", "mv", "chmod", "rm", "uname", "sha256sum", "tar", "echo", "true"} {
		for _, at := range []string{"/bin", "/usr/bin"} {
			if _, err := os.Stat(filepath.Join(at, name)); err == nil {
				_ = os.Symlink(filepath.Join(at, name), filepath.Join(dir, name))
			}
		}
	}
	return dir
}

func TestShmSize(t *testing.T) {
	for available, want := range map[int64]int64{0: 0, 1e9: 330000000, 1e13: 200e9} {
		if got := shmSize(available); got != want {
			t.Errorf("%d: %d, want %d", available, got, want)
		}
	}
}

func TestContainerInterrupted(t *testing.T) {
	n, dir, _ := dockerNode(t, `docker: {image: i, container_name: box}`)
	if err := Start(t.Context(), n, nil); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(Inside(&n)); got != "box on machine" {
		t.Error(got)
	}
	err := Inside(&n).Run(t.Context(), sshx.Command{Line: "exit 3", Env: map[string]string{"A": "it's"}})
	if sshx.ExitCode(err) != 3 {
		t.Error(err)
	}
	out, err := sshx.Output(t.Context(), Inside(&n), "pwd")
	if err != nil || out != filepath.Join(dir, "at", "box", "home") {
		t.Error(out, err)
	}
}
