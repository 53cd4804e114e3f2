package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ray/internal/cluster"
	"ray/node/runtimeenv"
)

// readRuntimeEnv merges --runtime-env, --runtime-env-json and --working-dir.
func readRuntimeEnv(file, text, workingDir string, warn io.Writer) (map[string]any, error) {
	if file != "" && text != "" {
		return nil, usagef("Only one of --runtime-env and --runtime-env-json can be given.")
	}
	env := map[string]any{}
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, usagef("Invalid value for '--runtime-env': %s", err)
		}
		if env, err = cluster.Mapping(content); err != nil {
			return nil, usagef("Invalid value for '--runtime-env': %s holds no runtime environment: %s", file, err)
		}
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &env); err != nil {
			return nil, usagef("Invalid value for '--runtime-env-json': %s", err)
		}
	}
	if env == nil { // the text was null
		env = map[string]any{}
	}
	if workingDir != "" {
		if _, there := env["working_dir"]; there {
			_, _ = fmt.Fprintln(warn, "Overriding runtime_env working_dir with --working-dir option")
		}
		env["working_dir"] = workingDir
	}
	return env, nil
}

// shipRuntimeEnv makes a runtime environment independent of this machine: the
// files that it names are read, local folders and archives become the URIs of
// packages that the cluster has. What no node could make is refused.
func shipRuntimeEnv(ctx context.Context, a *api, env map[string]any, say io.Writer) error {
	for _, name := range []string{"pip", "uv"} {
		if err := inlineRequirements(env, name); err != nil {
			return err
		}
	}
	if err := inlineConda(env); err != nil {
		return err
	}
	excludes, err := textList(env, "excludes")
	if err != nil {
		return err
	}
	modules, err := textList(env, "py_modules")
	if err != nil {
		return err
	}
	delete(env, "excludes")
	s := shipper{api: a, excludes: excludes, say: say}
	if dir, ok := env["working_dir"].(string); ok && dir != "" {
		if env["working_dir"], err = s.ship(ctx, dir, false); err != nil {
			return usagef("Invalid value for '--working-dir': %w", err)
		}
	}
	for i, module := range modules {
		if modules[i], err = s.ship(ctx, module, true); err != nil {
			return usagef("runtime_env['py_modules']: %w", err)
		}
	}
	if modules != nil {
		env["py_modules"] = modules
	}
	text, err := json.Marshal(env)
	if err != nil {
		return err
	}
	if err := runtimeenv.Check(text); err != nil {
		return usagef("the runtime environment cannot be: %w", err)
	}
	return nil
}

// textList gives a field that is a list of strings; nil if it is absent.
func textList(env map[string]any, name string) ([]string, error) {
	value, there := env[name]
	if !there || value == nil {
		return nil, nil
	}
	list, ok := value.([]any)
	texts := make([]string, len(list))
	for i, item := range list {
		if texts[i], ok = item.(string); !ok {
			break
		}
	}
	if !ok {
		return nil, usagef("runtime_env['%s'] must be a list of strings, got %v", name, value)
	}
	return texts, nil
}

// inlineRequirements reads a requirements file that pip or uv is given.
func inlineRequirements(env map[string]any, name string) error {
	holder, key := env, name
	if options, ok := env[name].(map[string]any); ok {
		holder, key = options, "packages"
	}
	file, ok := holder[key].(string)
	if !ok {
		return nil
	}
	content, err := os.ReadFile(cluster.ExpandHome(file))
	if err != nil {
		return usagef("runtime_env['%s'] names a requirements file that cannot be read: %w", name, err)
	}
	lines := []string{}
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	holder[key] = lines
	return nil
}

// inlineConda reads an environment.yml.
func inlineConda(env map[string]any) error {
	file, ok := env["conda"].(string)
	if ext := filepath.Ext(file); !ok || ext != ".yml" && ext != ".yaml" {
		return nil
	}
	content, err := os.ReadFile(cluster.ExpandHome(file))
	if err != nil {
		return usagef("runtime_env['conda'] names a file that cannot be read: %w", err)
	}
	definition, err := cluster.Mapping(content)
	if err != nil || definition == nil {
		return usagef("runtime_env['conda']: %s holds no environment definition, which is a mapping: %v", file, err)
	}
	env["conda"] = definition
	return nil
}
