package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ray/internal/session"
)

// TestScripts runs testdata/script over the binary that users get:
// RAY_BINARY, else bin/ray as scripts/build made it.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts daemons: left out by -short")
	}
	binary := os.Getenv("RAY_BINARY")
	if binary == "" {
		binary = "../../bin/ray"
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skipf("no binary at %s: scripts/build makes it", binary)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               func(env *testscript.Env) error { return setUpScript(env, binary) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePortCommand,
			"holdport": holdPortCommand,
			"metadata": metadataCommand,
			"waitfor":  waitForCommand,
			"nothing":  nothingCommand,
		},
	})
}

// setUpScript gives a script a home and a session root of its own, and ends
// what it leaves running.
func setUpScript(env *testscript.Env, binary string) error {
	// Session roots of tests must be short: they end up in socket paths.
	root, err := os.MkdirTemp("/tmp", "rayscript-")
	if err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	repo := filepath.Dir(filepath.Dir(binary))
	env.Setenv("HOME", home)
	env.Setenv("RAY_TMPDIR", root)
	env.Setenv("RAY", binary)
	env.Setenv("REPO", repo)
	path := filepath.Join(repo, ".venv", "bin") + ":" + os.Getenv("PATH")
	env.Setenv("PATH", filepath.Dir(binary)+":"+path)
	for _, name := range []string{"RAY_TEST_RUN", "GOCOVERDIR"} {
		if v := os.Getenv(name); v != "" {
			env.Setenv(name, v)
		}
	}
	env.Defer(func() {
		all, _ := session.List()
		for _, a := range all {
			if ofScript(a, root, env.WorkDir) {
				_ = exec.Command(binary, "stop", "--force", "--session", a.SessionDir).Run()
			}
		}
		_ = os.RemoveAll(root)
	})
	return nil
}

// ofScript tells whether the daemon runs under the script's session root, or on
// an instance of the process provider, which keeps them in the script's home.
func ofScript(a session.Announcement, root, work string) bool {
	return a.TempDir == root || strings.HasPrefix(a.TempDir, work+string(filepath.Separator))
}

// freePortCommand is `freeport VAR`: sets VAR to a port that is free now.
func freePortCommand(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// holdPortCommand is `holdport VAR`: sets VAR to a port that is taken until
// the script ends.
func holdPortCommand(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Defer(func() { _ = l.Close() })
}

// metadataCommand is `metadata VAR FILE`: serves EC2's metadata at the address
// in VAR. The machines whose numbers FILE has, 1 for the first that asked for a
// token, are told that they end in a minute.
func metadataCommand(ts *testscript.TestScript, _ bool, args []string) {
	notice := ts.MkAbs(args[1])
	var tokens atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, tokens.Add(1)) })
	mux.HandleFunc("GET /latest/meta-data/spot/instance-action", func(w http.ResponseWriter, r *http.Request) {
		if told, err := os.ReadFile(notice); err != nil || !slices.Contains(strings.Fields(string(told)), r.Header.Get("X-aws-ec2-metadata-token")) {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, `{"action": "terminate", "time": %q}`, time.Now().Add(time.Minute).UTC().Format(time.RFC3339))
	})
	server := httptest.NewServer(mux)
	ts.Setenv(args[0], server.URL)
	ts.Defer(server.Close)
}

// waitForCommand is `waitfor TEXT PROGRAM ARGS...`: runs the program until its
// output contains TEXT, at most 30 seconds.
func waitForCommand(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if strings.Contains(out, args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not appear: %v\n%s", args[0], err, out)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// nothingCommand is `nothing`: fails if a daemon of the script runs for another
// ten seconds.
func nothingCommand(ts *testscript.TestScript, _ bool, _ []string) {
	root, work := ts.Getenv("RAY_TMPDIR"), ts.Getenv("WORK")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		all, err := session.List()
		ts.Check(err)
		i := slices.IndexFunc(all, func(a session.Announcement) bool { return ofScript(a, root, work) })
		if i < 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("still there: node %s, pid %d", all[i].NodeID, all[i].PID)
		}
	}
}
