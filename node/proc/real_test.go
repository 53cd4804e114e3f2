package proc

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

// TestRealWorkersSayHello runs the package's own fork server and worker, and
// the plain way beside it, up to the first frame.
func TestRealWorkersSayHello(t *testing.T) {
	pkg, err := filepath.Abs("../../python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(pkg, "ray/_core/forkserver.py")); err != nil {
		t.Skip("the Python package is not here")
	}
	interpreter := python(t)
	for name, exec := range map[string]bool{"forked": false, "executed": true} {
		t.Run(name, func(t *testing.T) {
			_, w, dir := manager(t)
			m := New(Config{LogDir: dir, PackageDir: pkg, OnExit: func(e Exit) { w.mu.Lock(); w.exits[e.ID] = e; w.mu.Unlock() }})
			t.Cleanup(m.Close)
			socket := filepath.Join(dir, "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			id := spec.NewWorkerID()
			err = m.Start(WorkerSpec{ID: id, JobID: spec.JobIDFromInt(1), Python: interpreter, Socket: socket, Exec: exec})
			if err != nil {
				t.Fatal(err)
			}
			_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(20 * time.Second))
			conn, err := l.Accept()
			if err != nil {
				e, _ := w.exit(id)
				t.Fatalf("no connection: %v; exit: %+v", err, e)
			}
			f, err := wire.NewReader(conn, wire.HelloLimit).Next()
			if err != nil {
				t.Fatal(err)
			}
			var h wire.Hello
			if err := wire.DecodeJSON(f.Type, f.Body, &h); err != nil {
				t.Fatal(err)
			}
			if h.Role != "worker" || h.ClientID != id.String() || h.Proto != wire.ProtocolVersion {
				t.Errorf("%+v", h)
			}
			_ = conn.Close() // its daemon is gone: the worker ends
			e := ended(t, w, id)
			if e.PID == 0 {
				t.Errorf("%+v", e)
			}
		})
	}
}
