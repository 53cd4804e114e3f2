package sshx

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A login has what ~/.bashrc gives a user at a terminal, whatever that file does.
func TestStartUpFiles(t *testing.T) {
	const guard = "case $- in *i*) ;; *) return;; esac\n"
	const show = `echo "$FOO|$LOCAL|$(type -t fun)|$A|$(case $PATH in /from/bashrc:*) echo path;; esac)"; rm gone; exit 7`
	for name, c := range map[string]struct{ bashrc, want string }{
		"none":     {"", "|||ours|"},
		"guarded":  {guard + "export FOO='it'\"'\"'s\n$x'\nLOCAL=y\nfun() { echo; }\nalias rm='echo asks'\n", "it's\n$x|y|function|ours|"},
		"plain":    {"export FOO=bar A=theirs\n", "bar|||ours|"},
		"old":      {"[ -z \"$PS1\" ] && return\nexport FOO=bar\n", "bar|||ours|"},
		"readonly": {guard + "readonly RO='a\nb'\nexport FOO=bar\n", "bar|||ours|"},
		"prints":   {guard + "echo hello; echo err >&2; export FOO=bar\n", "bar|||ours|"},
		"reads":    {guard + "read answer; export FOO=bar\n", "bar|||ours|"},
		"agent":    {guard + "sleep 1 &\nexport FOO=bar\n", "bar|||ours|"},
		"replaces": {"export FOO=bar\nexec true\n", "|||ours|"},
		"broken":   {"export FOO=bar\nif then fi\n", "bar|||ours|"},
		"path":     {guard + "export FOO=bar PATH=/from/bashrc:$PATH\n", "bar|||ours|path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			if name != "none" {
				if err := os.WriteFile(filepath.Join(home, ".bashrc"), []byte(c.bashrc), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tmp := t.TempDir()
			cmd := exec.Command("/bin/bash", "-c", "exec bash "+Command{Login: true, Line: show, Env: map[string]string{"A": "ours"}}.bash(nil))
			cmd.Env = []string{"HOME=" + home, "TMPDIR=" + tmp, "PATH=/usr/bin:/bin"}
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			err := cmd.Run()
			if ExitCode(exitError(err)) != 7 || out.String() != c.want+"\n" {
				t.Errorf("%v: %q, want %q; %s", err, out.String(), c.want, errOut.String())
			}
			if text := errOut.String(); !bytes.HasPrefix(errOut.Bytes(), []byte("rm: cannot remove 'gone'")) || bytes.Count(errOut.Bytes(), []byte("\n")) != 1 {
				t.Errorf("stderr is %q", text)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}
