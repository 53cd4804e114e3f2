package runtimeenv

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// venv makes a virtual environment with the requirements of a field installed.
func (m *Manager) venv(ctx context.Context, r Request, field string, p *packages, out *Env) error {
	if r.Python == "" {
		return fmt.Errorf("%s: there is no interpreter on this node to make the environment from", field)
	}
	v := venvPlan{field: field, base: r.Python, packages: *p, uv: m.findUV(r.Python), env: installerEnv(out)}
	if slices.ContainsFunc(slices.Concat(p.Packages, p.Options), func(s string) bool { return strings.Contains(s, workingDirVariable) }) {
		v.env = append(v.env, workingDirVariable+"="+out.Cwd)
	}
	what := recipe{
		id:    field + "-" + digest([]any{r.Python, p, v.env}),
		title: field + ": " + masked(strings.Join(p.Packages, " ")),
		make:  v.make,
	}
	root, err := m.obtain(ctx, r, what)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", field, masked(strings.Join(p.Packages, ", ")), err)
	}
	m.use(root, out)
	out.Vars["VIRTUAL_ENV"] = root
	return nil
}

// workingDirVariable refers to the working_dir in requirements.
const workingDirVariable = "RAY_RUNTIME_ENV_CREATE_WORKING_DIR"

// installerEnv are the request's variables that an installer reads.
func installerEnv(out *Env) (env []string) {
	for _, name := range slices.Sorted(maps.Keys(out.Vars)) {
		if forInstaller(name) {
			env = append(env, name+"="+out.Vars[name])
		}
	}
	return env
}

// findUV looks for uv on PATH, beside the interpreter and where its own
// installer puts it.
func (m *Manager) findUV(python string) string {
	var names []string
	for _, dir := range append(filepath.SplitList(m.lookup("PATH")), filepath.Dir(python),
		filepath.Join(m.lookup("HOME"), ".local", "bin"), filepath.Join(m.lookup("HOME"), ".cargo", "bin")) {
		if filepath.IsAbs(dir) {
			names = append(names, filepath.Join(dir, "uv"))
		}
	}
	return firstFound(names)
}

// venvPlan is all that decides how a virtual environment is made.
type venvPlan struct {
	field    string
	base     string // interpreter
	packages packages
	uv       string // program; empty: there is none
	env      []string
}

// make carries the plan out.
func (v venvPlan) make(ctx context.Context, root string, out *output) error {
	requirements := filepath.Join(filepath.Dir(root), "requirements.txt")
	if err := os.WriteFile(requirements, []byte(strings.Join(v.packages.Packages, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if err := runStep(ctx, v.create(root), out); err != nil {
		return err
	}
	if err := inherit(ctx, v.base, root, out); err != nil {
		return err
	}
	return runSteps(ctx, v.install(root, requirements), out)
}

func (v venvPlan) create(root string) step {
	return step{args: []string{v.base, "-m", "venv", "--without-pip", root}}
}

// inherit makes the packages that base sees visible in the environment, behind
// its own. (venv's --system-site-packages would show those of the interpreter
// that base was itself made from, which base may be shut off from.) With it pip
// itself is visible, so that the environment needs no copy.
func inherit(ctx context.Context, base, root string, out *output) error {
	return runStep(ctx, step{args: []string{base, "-c", inheritCode, filepath.Join(root, "bin", "python")}}, out)
}

const inheritCode = `
import os, site, subprocess, sys
own = subprocess.run([sys.argv[1], "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
                     check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()
above = site.getsitepackages() + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
above = [path for path in above if os.path.isdir(path)]
with open(os.path.join(own, "_ray_base.pth"), "w") as file:
    file.write("import site; " + "; ".join("site.addsitedir(%r)" % path for path in above) + "\n")
`

// install gives the commands that put the requirements into the environment.
func (v venvPlan) install(root, requirements string) []step {
	python := filepath.Join(root, "bin", "python")
	dir := filepath.Dir(root)
	at := func(args ...string) step { return step{args: args, env: v.env, dir: dir} }
	p := v.packages
	pip := func(args ...string) step {
		return at(append([]string{python, "-m", "pip"}, args...)...)
	}
	var plan []step
	if v.useUV() {
		uv := []string{v.uv}
		if v.field == "uv" && p.Version != "" {
			plan = append(plan, pip("install", "--disable-pip-version-check", "--ignore-installed", "uv"+p.Version))
			uv = []string{python, "-m", "uv"}
		}
		args := append(slices.Clone(uv), "pip", "install", "--python", python, "-r", requirements)
		plan = append(plan, at(append(args, p.Options...)...))
		if p.Check {
			plan = append(plan, at(append(slices.Clone(uv), "pip", "check", "--python", python)...))
		}
		return plan
	}
	if v.field == "pip" && p.Version != "" {
		plan = append(plan, pip("install", "--disable-pip-version-check", "--ignore-installed", "pip"+p.Version))
	}
	options := p.Options
	if options == nil {
		options = []string{"--disable-pip-version-check", "--no-cache-dir"}
	}
	plan = append(plan, pip(append([]string{"install", "-r", requirements}, options...)...))
	if p.Check {
		plan = append(plan, pip("check"))
	}
	return plan
}

// useUV tells whether uv installs. For the field pip it must understand every
// option, and the field must not ask for a version of pip.
func (v venvPlan) useUV() bool {
	if v.field == "uv" {
		return v.uv != "" || v.packages.Version != ""
	}
	return v.uv != "" && v.packages.Version == "" && !slices.ContainsFunc(v.packages.Options, func(o string) bool {
		name, _, _ := strings.Cut(o, "=")
		return strings.HasPrefix(name, "-") && !slices.Contains(commonOptions, name)
	})
}

// commonOptions mean the same for pip and for uv pip.
var commonOptions = []string{"--no-index", "--find-links", "-f", "--index-url", "-i", "--extra-index-url", "--no-deps", "--upgrade", "-U",
	"--no-cache-dir", "--no-build-isolation", "--constraint", "-c", "--disable-pip-version-check", "--quiet", "-q", "--verbose", "-v"}
