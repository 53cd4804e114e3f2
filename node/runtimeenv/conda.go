package runtimeenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// condaTools are the programs that can make a conda environment, best first.
var condaTools = []string{"micromamba", "mamba", "conda", "pixi"}

// conda finds or makes the conda environment of a request.
func (m *Manager) conda(ctx context.Context, r Request, c *condaField, out *Env) error {
	prefix := c.Name
	if c.Name == "" || !filepath.IsAbs(c.Name) {
		tool, err := m.findConda()
		if err != nil {
			return err
		}
		if c.Name != "" {
			prefix, err = existing(ctx, tool, c.Name)
		} else {
			prefix, err = m.makeConda(ctx, r, tool, c.Definition, out)
		}
		if err != nil {
			return fmt.Errorf("conda: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(prefix, "bin", "python")); err != nil {
		return fmt.Errorf("conda: the environment %s has no Python; add %q to its dependencies", prefix, "python="+r.Version)
	}
	m.use(prefix, out)
	out.Vars["CONDA_PREFIX"], out.Vars["CONDA_DEFAULT_ENV"] = prefix, filepath.Base(prefix)
	return nil
}

// findConda looks for a tool on PATH, by the variables that conda's own shell
// set-up leaves, and in the usual places of installations.
func (m *Manager) findConda() (string, error) {
	var names []string
	for _, tool := range condaTools {
		for _, dir := range filepath.SplitList(m.lookup("PATH")) {
			names = append(names, filepath.Join(dir, tool))
		}
	}
	names = append(names, m.lookup("MAMBA_EXE"), m.lookup("CONDA_EXE"))
	for _, home := range []string{"miniforge3", "mambaforge", "miniconda3", "anaconda3"} {
		names = append(names, filepath.Join(m.lookup("HOME"), home, "bin", "conda"))
	}
	if tool := firstFound(names); tool != "" {
		return tool, nil
	}
	return "", fmt.Errorf("conda: none of %s was found on this node (looked on PATH, in $MAMBA_EXE and $CONDA_EXE, and in miniforge3, mambaforge, miniconda3 and anaconda3 of the home directory); install one of them, or use pip",
		strings.Join(condaTools, ", "))
}

// existing asks the tool where the environment of a name lies.
func existing(ctx context.Context, tool, name string) (string, error) {
	if kindOf(tool) == "pixi" {
		return "", fmt.Errorf("not supported yet: environments by name (%q) with pixi, which knows none; give an environment definition", name)
	}
	cmd := exec.CommandContext(ctx, tool, "env", "list", "--json")
	var stderr bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &stderr, killGrace
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s env list --json: %w\n%s", tool, err, masked(stderr.String()))
	}
	var found struct {
		Envs []string `json:"envs"`
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return "", fmt.Errorf("%s env list --json: %w", tool, err)
	}
	for _, path := range found.Envs {
		if filepath.Base(path) == name {
			return path, nil
		}
	}
	// The first one is the installation itself.
	if name == "base" && len(found.Envs) > 0 {
		return found.Envs[0], nil
	}
	return "", fmt.Errorf("there is no environment %q on this node; %s knows: %s", name, tool, strings.Join(found.Envs, ", "))
}

func kindOf(tool string) string { return filepath.Base(tool) }

// makeConda makes an environment from a definition.
func (m *Manager) makeConda(ctx context.Context, r Request, tool string, definition []byte, out *Env) (string, error) {
	definition = withPython(definition, r.Version)
	env := append(installerEnv(out), "CONDA_ALWAYS_YES=true", "MAMBA_ALWAYS_YES=true")
	root, err := m.obtain(ctx, r, recipe{
		id:    "conda-" + digest([]any{string(definition), r.Version, env}),
		title: "conda: " + masked(strings.Join(strings.Fields(string(definition)), " ")),
		make: func(ctx context.Context, root string, out *output) error {
			file := filepath.Join(filepath.Dir(root), "environment.yml")
			if err := os.WriteFile(file, definition, 0o600); err != nil {
				return err
			}
			return runSteps(ctx, condaPlan(tool, root, file, env), out)
		},
	})
	if kindOf(tool) == "pixi" {
		root = filepath.Join(root, ".pixi", "envs", "default")
	}
	return root, err
}

// condaPlan gives the commands with which a tool makes an environment.
func condaPlan(tool, root, file string, env []string) []step {
	at := func(args ...string) step {
		return step{args: append([]string{tool}, args...), env: env, dir: filepath.Dir(root)}
	}
	switch kindOf(tool) {
	case "micromamba":
		return []step{at("create", "--yes", "--prefix", root, "--file", file)}
	case "pixi":
		return []step{at("init", "--import", file, root), at("install", "--manifest-path", filepath.Join(root, "pixi.toml"))}
	default:
		return []step{at("env", "create", "--prefix", root, "--file", file)}
	}
}

// withPython adds the driver's version of Python, and pip where it is used,
// to a definition in JSON that does not name them. A definition in YAML stays
// as it is.
func withPython(definition []byte, version string) []byte {
	var object map[string]any
	if version == "" || json.Unmarshal(definition, &object) != nil {
		return definition
	}
	dependencies, _ := object["dependencies"].([]any)
	named, pip, usesPip := false, false, false
	for _, d := range dependencies {
		switch d := d.(type) {
		case string:
			name := strings.TrimRight(strings.FieldsFunc(d+" ", func(c rune) bool { return strings.ContainsRune(" =<>!~[", c) })[0], " ")
			named = named || name == "python" || strings.HasSuffix(name, "::python")
			pip = pip || name == "pip"
		case map[string]any:
			usesPip = usesPip || d["pip"] != nil
		}
	}
	if !named {
		dependencies = append([]any{"python=" + version}, dependencies...)
	}
	if usesPip && !pip {
		dependencies = append([]any{"pip"}, dependencies...)
	}
	object["dependencies"] = dependencies
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false) // "python>=3.9" is read by people, too
	if err := out.Encode(object); err != nil {
		return definition
	}
	return bytes.TrimSpace(text.Bytes())
}
