package proc

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ray/internal/spec"
)

// TestDaemonToBeKilled is not a test: the next one runs it as a process.
func TestDaemonToBeKilled(t *testing.T) {
	dir := os.Getenv("PROC_TEST_DAEMON")
	if dir == "" {
		t.Skip("only runs inside TestNothingOutlivesAKilledDaemon")
	}
	pkg, _ := filepath.Abs("testdata")
	m := New(Config{LogDir: dir, PackageDir: pkg})
	do := "sleep 60 & echo $! > $DIR/grandchild; echo $$ > $DIR/worker.tmp; mv $DIR/worker.tmp $DIR/worker; wait"
	err := m.Start(WorkerSpec{ID: spec.NewWorkerID(), Python: python(t), Env: map[string]string{"DO": do, "DIR": dir}})
	if err != nil {
		t.Fatal(err)
	}
	child, err := m.Run(Command{ID: "job", Line: "exec sleep 60", LogPath: filepath.Join(dir, "job.log")})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("job %d\n", child.PID)
	<-time.After(time.Minute) // to be killed in
}

func TestNothingOutlivesAKilledDaemon(t *testing.T) {
	python(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestDaemonToBeKilled$")
	cmd.Env = append(os.Environ(), "PROC_TEST_DAEMON="+dir, "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	pids := map[string]int{}
	line, _ := bufio.NewReader(out).ReadString('\n')
	var job int
	if _, err := fmt.Sscanf(line, "job %d", &job); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	pids["job"] = job
	eventually(t, "the worker", func() bool { _, err := os.Stat(filepath.Join(dir, "worker")); return err == nil })
	for _, name := range []string{"worker", "grandchild"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &pid); err != nil {
			t.Fatal(err)
		}
		pids[name] = pid
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for name, pid := range pids {
		defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
		end := time.Now().Add(5 * time.Second)
		for alive(pid) && time.Now().Before(end) {
			time.Sleep(5 * time.Millisecond)
		}
		if alive(pid) {
			t.Errorf("%s (process %d) outlives its daemon", name, pid)
		}
	}
}
