package runtimeenv

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// executable makes a script that runs py_executable, which is a command line:
// a fork server can then be started from it as from any interpreter.
func (m *Manager) executable(ctx context.Context, r Request, command string, out *Env) error {
	if filepath.IsAbs(command) && firstFound([]string{command}) != "" {
		out.Python = command
		return nil
	}
	return m.launcher(ctx, r, "py_executable: "+masked(command), "exec "+command, out)
}

// launcher makes a script that runs a shell line with the arguments of an
// interpreter behind it, and takes it as the environment's interpreter.
func (m *Manager) launcher(ctx context.Context, r Request, title, line string, out *Env) error {
	// A program that is named without a directory is looked for as the job
	// would: beside its interpreter first.
	path := m.lookup("PATH")
	if own, ok := out.Vars["PATH"]; ok {
		path = own
	}
	if r.Python != "" {
		path = filepath.Dir(r.Python) + string(os.PathListSeparator) + path
	}
	script := "#!/bin/sh\nexport PATH=" + quoted(path) + "\n"
	if out.Cwd != "" {
		script += "cd " + quoted(out.Cwd) + " || exit 1\n"
	}
	script += line + " \"$@\"\n"
	root, err := m.obtain(ctx, r, recipe{
		id:    "command-" + digest(script),
		title: title,
		make: func(_ context.Context, root string, _ *output) error {
			if err := os.Mkdir(root, 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(root, "python"), []byte(script), 0o700)
		},
	})
	out.Python = filepath.Join(root, "python")
	return err
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
