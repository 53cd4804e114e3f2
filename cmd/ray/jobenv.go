package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// readRuntimeEnv merges --runtime-env, --runtime-env-json and --working-dir.
func readRuntimeEnv(file, text, workingDir string) (map[string]any, error) {
	if file != "" && text != "" {
		return nil, usagef("Only one of --runtime-env and --runtime-env-json can be given.")
	}
	env := map[string]any{}
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, usagef("Invalid value for '--runtime-env': %s", err)
		}
		if err := json.Unmarshal(content, &env); err != nil {
			return nil, errors.New("not supported yet: a runtime environment in YAML syntax; write " + file + " as JSON")
		}
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &env); err != nil {
			return nil, usagef("Invalid value for '--runtime-env-json': %s", err)
		}
	}
	if workingDir != "" {
		env["working_dir"] = workingDir
	}
	return env, nil
}

// uploadWorkingDir replaces a local directory in the runtime environment by
// the URI of a package that the cluster has.
func uploadWorkingDir(ctx context.Context, a *api, env map[string]any) error {
	dir, ok := env["working_dir"].(string)
	if !ok || dir == "" || strings.Contains(dir, "://") {
		return nil
	}
	if info, err := os.Stat(dir); err != nil {
		return usagef("Invalid value for '--working-dir': %s", err)
	} else if !info.IsDir() {
		return errors.New("not supported yet: a working directory given as a local archive; give the directory itself")
	}
	var excludes []string
	if list, ok := env["excludes"].([]any); ok {
		for _, e := range list {
			excludes = append(excludes, fmt.Sprint(e))
		}
	}
	delete(env, "excludes")
	name, content, err := packDir(dir, excludes)
	if err != nil {
		return err
	}
	path := "/api/packages/gcs/" + name
	err = a.call(ctx, http.MethodGet, path, nil, nil, nil)
	var answer *apiError
	if errors.As(err, &answer) && answer.status == http.StatusNotFound {
		var r *http.Request
		if r, err = a.request(ctx, http.MethodPut, path, nil, bytes.NewReader(content)); err != nil {
			return err
		}
		body, sendErr := a.send(r)
		if sendErr == nil {
			_ = body.Close()
		}
		err = sendErr
	}
	if err != nil {
		return fmt.Errorf("upload the working directory: %w", err)
	}
	env["working_dir"] = "gcs://" + name
	return nil
}
