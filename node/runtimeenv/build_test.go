package runtimeenv

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func python(t *testing.T) (path, version string) {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 on PATH")
	}
	out, err := exec.Command(path, "-c", "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		t.Skip("python3 does not run: ", err)
	}
	fields := strings.Fields(string(out))
	return fields[0], fields[1]
}

func wheel(t *testing.T, name, version, code string) (file string, data []byte) {
	info := fmt.Sprintf("%s-%s.dist-info/", name, version)
	return fmt.Sprintf("%s-%s-py3-none-any.whl", name, version), archive(t, map[string]string{
		name + ".py":      code,
		info + "METADATA": fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version),
		info + "WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		info + "RECORD":   "",
	})
}

// index is a package index with one project.
func index(t *testing.T, project, file string, data []byte) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/simple/" + strings.ReplaceAll(project, "_", "-") + "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, `<html><body><a href="/files/%s">%s</a></body></html>`, file, file)
		case "/files/" + file:
			_, _ = w.Write(data)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func bare(path string) []string { return []string{"PATH=" + path, "HOME=/nowhere"} }

func ask(text string, args ...any) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(text, args...))
}

func TestPipInstallsFromAnIndexOnceForAll(t *testing.T) {
	py, version := python(t)
	s := index(t, "rt_demo", "", nil)
	s.Close()
	file, data := wheel(t, "rt_demo", "1.5", "VALUE = 7\n")
	s = index(t, "rt_demo", file, data)
	logs := t.TempDir()
	m := manager(t, Config{LogDir: logs, Environ: bare("/usr/bin:/bin")})
	env := ask(`{"pip": {"packages": ["rt_demo==1.5"], "pip_check": false, "pip_install_options": ["--index-url", "http://me:secret@%s/simple/", "--disable-pip-version-check"]}}`,
		strings.TrimPrefix(s.URL, "http://"))
	var wg sync.WaitGroup
	got := make([]Env, 3)
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = m.Ensure(t.Context(), Request{Env: env, Holder: fmt.Sprint(i), Job: "01000000", Python: py, Version: version}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if got[0].Python != got[1].Python || got[0].Vars["VIRTUAL_ENV"] == "" || !strings.HasPrefix(got[0].Vars["PATH"], got[0].Bin+":") {
		t.Errorf("%+v", got[0])
	}
	out, err := exec.Command(got[0].Python, "-c", "import rt_demo, pip; print(rt_demo.VALUE)").CombinedOutput()
	if err != nil || string(out) != "7\n" {
		t.Errorf("%s %v", out, err)
	}
	text, _ := os.ReadFile(filepath.Join(logs, "runtime_env_setup-01000000.log"))
	if !strings.Contains(string(text), "Successfully installed rt_demo-1.5") || strings.Contains(string(text), "secret") {
		t.Errorf("log:\n%s", text)
	}
	if n := strings.Count(string(text), "Successfully installed"); n != 1 {
		t.Errorf("installed %d times", n)
	}
	rows := m.Rows()
	if len(rows) != 1 || rows[0].State != Ready || rows[0].Uses != 3 || rows[0].Bytes == 0 {
		t.Errorf("%+v", rows)
	}
	for i := range got {
		m.Release(fmt.Sprint(i))
		m.Release(fmt.Sprint(i))
	}
	if rows := m.Rows(); rows[0].Uses != 0 {
		t.Errorf("%+v", rows)
	}
}

func TestPipFailureNamesCommandStatusAndOutput(t *testing.T) {
	py, version := python(t)
	dir := t.TempDir()
	m := manager(t, Config{Dir: dir, Environ: bare("/usr/bin:/bin")})
	_, err := m.Ensure(t.Context(), Request{Holder: "h", Python: py, Version: version,
		Env: ask(`{"pip": {"packages": ["rt-there-is-none"], "pip_install_options": ["--no-index"]}}`)})
	for _, want := range []string{"RuntimeEnvSetupError", "pip install", "exit status 1", "No matching distribution found for rt-there-is-none"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	if left := ids(m.cache); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if rows := m.Rows(); len(rows) != 1 || rows[0].State != Failed {
		t.Errorf("%+v", rows)
	}
}

// tool writes a shell script that stands for an installer.
func tool(t *testing.T, dir, name, script string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTimeoutEndsTheInstaller(t *testing.T) {
	py, version := python(t)
	bin := t.TempDir()
	tool(t, bin, "uv", "echo resolving 17 packages\nexec sleep 600\n")
	m := manager(t, Config{Environ: bare(bin)})
	env := ask(`{"uv": ["x"], "config": {"setup_timeout_seconds": 8}}`)
	_, err := m.Ensure(t.Context(), Request{Env: env, Holder: "h", Python: py, Version: version})
	for _, want := range []string{"not ready after 8s", "setup_timeout_seconds", "uv pip install", "resolving 17 packages"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	m.Close() // hangs if the installer was left
}

func TestUVIsUsedWhereItIsFoundAndUnderstands(t *testing.T) {
	for _, c := range []struct {
		plan venvPlan
		want string
	}{
		{venvPlan{field: "pip", uv: "/b/uv", packages: packages{Options: []string{"--no-index", "--find-links=/w"}}},
			"/b/uv pip install --python /e/root/bin/python -r r.txt --no-index --find-links=/w"},
		{venvPlan{field: "pip", uv: "/b/uv", packages: packages{Options: []string{"--use-deprecated=x"}, Check: true}},
			"/e/root/bin/python -m pip install -r r.txt --use-deprecated=x; /e/root/bin/python -m pip check"},
		{venvPlan{field: "pip", uv: "/b/uv", packages: packages{Version: "==24.0"}},
			"/e/root/bin/python -m pip install --disable-pip-version-check --ignore-installed pip==24.0; /e/root/bin/python -m pip install -r r.txt --disable-pip-version-check --no-cache-dir"},
		{venvPlan{field: "pip"}, "/e/root/bin/python -m pip install -r r.txt --disable-pip-version-check --no-cache-dir"},
		{venvPlan{field: "uv", uv: "/b/uv", packages: packages{Check: true}},
			"/b/uv pip install --python /e/root/bin/python -r r.txt; /b/uv pip check --python /e/root/bin/python"},
		{venvPlan{field: "uv"}, "/e/root/bin/python -m pip install -r r.txt --disable-pip-version-check --no-cache-dir"},
		{venvPlan{field: "uv", packages: packages{Version: "==0.4.0"}},
			"/e/root/bin/python -m pip install --disable-pip-version-check --ignore-installed uv==0.4.0; /e/root/bin/python -m uv pip install --python /e/root/bin/python -r r.txt"},
	} {
		var got []string
		for _, s := range c.plan.install("/e/root", "r.txt") {
			got = append(got, s.String())
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.plan, text, c.want)
		}
	}
}

func TestCondaToolsAndErrors(t *testing.T) {
	py, version := python(t)
	bin := t.TempDir()
	m := manager(t, Config{Environ: bare(bin)})
	request := Request{Env: ask(`{"conda": {"dependencies": ["toolz", {"pip": ["x"]}]}}`), Holder: "h", Python: py, Version: version}
	if _, err := m.Ensure(t.Context(), request); err == nil || !strings.Contains(err.Error(), "none of micromamba, mamba, conda, pixi was found") {
		t.Error(err)
	}
	// This is not conda: it only shows that the tool's commands are run.
	tool(t, bin, "micromamba", fmt.Sprintf(`
case "$1" in
env) echo '{"envs": ["/opt/base", "%[2]s/named"]}'; exit 0;;
esac
while [ $# -gt 1 ]; do case "$1" in --prefix) prefix=$2;; --file) file=$2;; esac; shift; done
[ "$CONDA_ALWAYS_YES" = true ] || exit 9
mkdir -p $prefix/bin && cp "$file" $prefix/seen.yml && ln -s %[1]s $prefix/bin/python
`, py, bin))
	env, err := m.Ensure(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	seen, _ := os.ReadFile(filepath.Join(env.Vars["CONDA_PREFIX"], "seen.yml"))
	if want := `{"dependencies":["pip","python=` + version + `","toolz",{"pip":["x"]}]}`; string(seen) != want {
		t.Errorf("definition %s, want %s", seen, want)
	}
	for name, want := range map[string]string{"other": `no environment "other"`, "named": "has no Python"} {
		request.Env = ask(`{"conda": %q}`, name)
		if _, err := m.Ensure(t.Context(), request); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(bin, "named", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(py, filepath.Join(bin, "named", "bin", "python")); err != nil {
		t.Fatal(err)
	}
	request.Env = ask(`{"conda": "named"}`)
	if env, err = m.Ensure(t.Context(), request); err != nil || env.Python != filepath.Join(bin, "named", "bin", "python") {
		t.Error(env.Python, err)
	}
}

func TestCondaPlans(t *testing.T) {
	for tool, want := range map[string]string{
		"/b/micromamba": "/b/micromamba create --yes --prefix /e/root --file f.yml",
		"/b/conda":      "/b/conda env create --prefix /e/root --file f.yml",
		"/b/mamba":      "/b/mamba env create --prefix /e/root --file f.yml",
		"/b/pixi":       "/b/pixi init --import f.yml /e/root; /b/pixi install --manifest-path /e/root/pixi.toml",
	} {
		var got []string
		for _, s := range condaPlan(tool, "/e/root", "f.yml", nil) {
			got = append(got, s.String())
		}
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
	for in, want := range map[string]string{
		`{"dependencies":["python>=3.9"]}`:     `{"dependencies":["python>=3.9"]}`,
		`{"dependencies":["python-dateutil"]}`: `{"dependencies":["python=3.11","python-dateutil"]}`,
		`{"name":"x"}`:                         `{"dependencies":["python=3.11"],"name":"x"}`,
		"dependencies: [a]":                    "dependencies: [a]",
	} {
		if got := string(withPython([]byte(in), "3.11")); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestAnotherVersionOfPythonIsNamed(t *testing.T) {
	bin := t.TempDir()
	old := tool(t, bin, "python", "echo 3.7\n")
	m := manager(t, Config{Environ: bare(bin)})
	_, err := m.Ensure(t.Context(), Request{Env: ask(`{"py_executable": %q}`, old), Holder: "h", Version: "3.11"})
	if err == nil || !strings.Contains(err.Error(), "it has Python 3.7, but the driver runs Python 3.11") {
		t.Error(err)
	}
}

func TestPyExecutableIsACommandLine(t *testing.T) {
	py, version := python(t)
	m := manager(t, Config{Environ: bare("/usr/bin:/bin")})
	env, err := m.Ensure(t.Context(), Request{Env: ask(`{"py_executable": "%s -X dev"}`, py), Holder: "h", Version: version})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(env.Python, "-c", "import sys; print(sys.flags.dev_mode, sys.argv[1:])", "a b").Output()
	if err != nil || string(out) != "True ['a b']\n" {
		t.Errorf("%s %v", out, err)
	}
	_, err = m.Ensure(t.Context(), Request{Env: ask(`{"py_executable": "no-such-python"}`), Holder: "h", Version: version})
	if err == nil || !strings.Contains(err.Error(), "not found") {
		t.Error(err)
	}
}

func TestPackagesFromServersAndFiles(t *testing.T) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	tw := tar.NewWriter(zw)
	_ = tw.WriteHeader(&tar.Header{Name: "top/", Typeflag: tar.TypeDir, Mode: 0o755})
	_ = tw.WriteHeader(&tar.Header{Name: "top/m.py", Size: 5, Mode: 0o644})
	_, _ = tw.Write([]byte("x = 1"))
	_ = tw.Close()
	_ = zw.Close()
	_, whl := wheel(t, "rt_whl", "1", "")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a.tar.gz":
			_, _ = w.Write(packed.Bytes())
		case "/w-1-py3-none-any.whl":
			_, _ = w.Write(whl)
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	local := filepath.Join(t.TempDir(), "z.zip")
	if err := os.WriteFile(local, archive(t, map[string]string{"top/n.py": "", "top/sub/o.py": ""}), 0o600); err != nil {
		t.Fatal(err)
	}
	m := manager(t, Config{})
	env, err := m.Ensure(t.Context(), Request{Holder: "h", Env: ask(`{"working_dir": "%s/a.tar.gz", "py_modules": ["%s/w-1-py3-none-any.whl", "file://%s"]}`, s.URL, s.URL, local)})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"m.py", "rt_whl.py", "sub/o.py"} {
		if _, err := os.Stat(filepath.Join(env.SysPath[i], want)); err != nil {
			t.Error(err)
		}
	}
	for uri, want := range map[string]string{
		s.URL + "/none.zip":                 "404 Not Found",
		"http://u:secret@127.0.0.1:1/a.zip": "connection refused",
		"file:///no/such/a.zip":             "no such file",
	} {
		_, err := m.Ensure(t.Context(), Request{Holder: "g", Env: ask(`{"working_dir": %q}`, uri)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestProgressIsTheLastLine(t *testing.T) {
	py, version := python(t)
	bin := t.TempDir()
	gate := filepath.Join(bin, "gate")
	if err := exec.Command("mkfifo", gate).Run(); err != nil {
		t.Skip("no mkfifo: ", err)
	}
	tool(t, bin, "uv", "echo Downloading big-1.0.whl\nread x < "+gate+"\n")
	m := manager(t, Config{LogDir: t.TempDir(), Environ: bare(bin)})
	done := make(chan error, 1)
	go func() {
		_, err := m.Ensure(t.Context(), Request{Env: ask(`{"uv": ["big"]}`), Holder: "h", Job: "02000000", Python: py, Version: version})
		done <- err
	}()
	eventually(t, func() bool {
		text, since := m.Progress("02000000")
		return text == "uv: big: Downloading big-1.0.whl" && !since.IsZero()
	})
	if rows := m.Making(); len(rows) != 1 || rows[0].Title != "uv: big" || rows[0].Progress != "Downloading big-1.0.whl" {
		t.Errorf("%+v", rows)
	}
	if rows := m.Rows(); len(rows) != 1 || rows[0].State != Making {
		t.Errorf("%+v", rows)
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if text, _ := m.Progress("02000000"); text != "" {
		t.Error(text)
	}
}

func TestAFileArchiveCannotEscape(t *testing.T) {
	local := filepath.Join(t.TempDir(), "z.zip")
	if err := os.WriteFile(local, archive(t, map[string]string{"../evil.py": "x"}), 0o600); err != nil {
		t.Fatal(err)
	}
	m := manager(t, Config{})
	_, err := m.Ensure(t.Context(), Request{Holder: "h", Env: ask(`{"working_dir": "file://%s"}`, local)})
	if err == nil || !strings.Contains(err.Error(), "unsafe name") {
		t.Error(err)
	}
}

func TestAFullDiskIsNamed(t *testing.T) {
	py, version := python(t)
	bin := t.TempDir()
	tool(t, bin, "uv", "echo 'error: failed to write: No space left on device (os error 28)' >&2; exit 2\n")
	m := manager(t, Config{Environ: bare(bin)})
	_, err := m.Ensure(t.Context(), Request{Env: ask(`{"uv": ["x"]}`), Holder: "h", Python: py, Version: version})
	for _, want := range []string{"exit status 2", "The disk of the cache " + m.cfg.Dir + " is full"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	if left := ids(m.cache); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
