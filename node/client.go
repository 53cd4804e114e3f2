package node

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/runtimeenv"
)

// client is a connected driver or worker.
type client struct {
	num    owner.Client
	id     string
	hello  wire.Hello
	job    *job
	worker *worker // nil for drivers
	remote bool    // no arena: every value travels inline
	slot   int     // in the arena's header; -1 none
	proc   uint32

	conn  net.Conn
	out   *wire.Out
	ctl   *wire.Out
	ctlNC net.Conn

	templates   map[uint32]*owner.Template // by the client's numbers
	sentTmpl    []bool                     // by ours
	sentExports map[spec.FunctionID]bool
	dirty       bool
	gone        bool
	start       int64           // ms
	finished    bool            // a driver has said that it ends
	stacks      []chan<- string // who waits for its stacks
}

// serveClient owns a client's connection until it ends.
func (d *daemon) serveClient(conn net.Conn, remote bool) {
	defer conn.Close()
	r := wire.NewReader(conn, wire.HelloLimit)
	f, err := r.Next()
	if err != nil {
		return
	}
	var h wire.Hello
	if f.Type != wire.THello {
		err = fmt.Errorf("first frame is %s, want HELLO", f.Type)
	} else {
		err = wire.DecodeJSON(f.Type, f.Body, &h)
	}
	if err == nil {
		err = d.checkHello(&h)
	}
	if err != nil {
		fatal(conn, err)
		return
	}
	r.SetLimit(0)
	if h.Role == "observer" {
		d.serveObserver(conn, r)
		return
	}
	if h.Conn == "control" {
		d.serveControl(conn, r, &h)
		return
	}
	c, err := d.admit(conn, &h, remote)
	if err != nil {
		d.log.Warn("client refused", "role", h.Role, "pid", h.PID, "err", err)
		fatal(conn, err)
		return
	}
	err = d.readFrames(c, r)
	var bad *spec.ErrorInfo
	if errors.Is(err, wire.ErrMalformed) || errors.As(err, &bad) {
		d.log.Warn("client's connection is closed: it broke the protocol", "role", h.Role, "pid", h.PID, "err", err)
		_ = c.out.Send(wire.AppendJSON(nil, wire.TFatal, wire.InfoOf(err)))
	}
	d.clientGone(c)
	_ = c.out.Close(100 * time.Millisecond)
}

func fatal(conn net.Conn, err error) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write(wire.AppendJSON(nil, wire.TFatal, wire.InfoOf(err)))
}

func (d *daemon) checkHello(h *wire.Hello) error {
	if h.Proto != wire.ProtocolVersion {
		return &spec.ErrorInfo{Type: "RuntimeError", Message: fmt.Sprintf("this client speaks protocol %d and the daemon speaks %d: install the same version of ray on both sides", h.Proto, wire.ProtocolVersion)}
	}
	d.mu.Lock()
	cluster := d.cluster.ClusterID
	d.mu.Unlock()
	if h.ClusterID != "" && h.ClusterID != cluster {
		return &spec.ErrorInfo{Type: "ConnectionError", Message: "the daemon at this address belongs to another cluster (" + cluster + ") than the one that was asked for (" + h.ClusterID + ")"}
	}
	if h.Role != "driver" && h.Role != "worker" && h.Role != "observer" {
		return &spec.ErrorInfo{Type: "RuntimeError", Message: fmt.Sprintf("role %q is none of driver, worker and observer", h.Role)}
	}
	return nil
}

// admit makes the client of a data connection and answers HELLO.
func (d *daemon) admit(conn net.Conn, h *wire.Hello, remote bool) (*client, error) {
	c := &client{hello: *h, conn: conn, remote: remote, slot: -1, id: h.ClientID, start: time.Now().UnixMilli(),
		templates: map[uint32]*owner.Template{}, sentExports: map[spec.FunctionID]bool{}}
	var err error
	if h.Role == "driver" {
		err = d.startJob(c)
	} else {
		err = d.findWorker(c)
	}
	if err != nil {
		return nil, err
	}
	if c.proc, err = d.processNumber(); err != nil {
		return nil, err
	}
	ok := d.helloOK(c)
	d.mu.Lock()
	if c.id == "" {
		c.id = spec.NewWorkerID().String()
	}
	d.nextID++
	c.num = d.nextID
	if !remote && len(d.slots) > 0 {
		c.slot = d.slots[len(d.slots)-1]
		d.slots = d.slots[:len(d.slots)-1]
		d.store.ClearSlot(c.slot)
		ok.Arena = &wire.ArenaInfo{Size: int64(d.store.FileSize()), Slot: int64(d.store.SlotOffset(c.slot))}
	}
	ok.ClientID = c.id
	d.byID[c.id] = c // before the answer: the control connection follows at once
	d.mu.Unlock()
	if err := d.writeHello(conn, ok, !remote); err != nil {
		d.locked(func() { delete(d.byID, c.id) })
		d.freeSlot(c)
		return nil, err
	}
	c.out = wire.NewOut(conn)
	d.locked(func() { err = d.join(c) })
	if err != nil {
		d.freeSlot(c)
		_ = c.out.Close(0)
		return nil, err
	}
	return c, nil
}

// join makes a client that has been answered one of those that are served.
func (d *daemon) join(c *client) error {
	if w := c.worker; w != nil && w.dead {
		// Its process ended between its HELLO and now, and has been counted as
		// one that never connected: it must not be given tasks.
		delete(d.byID, c.id)
		return &spec.ErrorInfo{Type: "ConnectionError", Message: "the process of worker " + w.id.String() + " has ended"}
	}
	d.clients[c.num] = c
	if c.worker != nil {
		c.worker.client = c
		d.workerConnected(c)
		return nil
	}
	c.job.driver = c
	if h := c.hello.Job; h == nil || runtimeenv.Eager(h.RuntimeEnv) {
		d.pool.Prestart(d.plainKey(c.job), d.cfg.cpus())
	}
	return nil
}

func (d *daemon) freeSlot(c *client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.slot >= 0 {
		d.slots = append(d.slots, c.slot)
		c.slot = -1
	}
}

// writeHello answers HELLO; the descriptors of the arena and of what follows
// it on disk go with it.
func (d *daemon) writeHello(conn net.Conn, ok *wire.HelloOK, arena bool) error {
	b := wire.AppendJSON(nil, wire.THelloOK, ok)
	uc, unix := conn.(*net.UnixConn)
	if !unix || !arena {
		_, err := conn.Write(b)
		return err
	}
	files := []int{int(d.store.File().Fd())}
	if o := d.store.Overflow(); o != nil {
		files = append(files, int(o.Fd()))
	}
	rights := syscall.UnixRights(files...)
	n, _, err := uc.WriteMsgUnix(b, rights, nil)
	if err == nil && n < len(b) {
		_, err = conn.Write(b[n:])
	}
	return err
}

func (d *daemon) helloOK(c *client) *wire.HelloOK {
	d.mu.Lock()
	defer d.mu.Unlock()
	ok := &wire.HelloOK{
		Proto: wire.ProtocolVersion, Version: version, Process: c.proc, NodeID: d.self, NodeIP: d.cfg.NodeIP,
		NodeName: d.cfg.NodeName, SessionDir: d.cfg.SessionDir, SessionName: d.cfg.SessionName, TempDir: d.cfg.TmpDir,
		ClusterID: d.cluster.ClusterID, GCSAddress: d.cfg.HeadAddress, DashboardURL: d.cluster.Dashboard,
		MetricsPort: d.cfg.MetricsPort, InlineLimit: d.inlineLimit, RecordSites: d.recordSites, Labels: d.cfg.Labels, Config: d.cluster.Config,
	}
	if c.job != nil {
		ok.JobID = c.job.id
		if c.job.info.Hello != nil {
			ok.Namespace = c.job.info.Hello.Namespace
			ok.Job = c.job.info.Hello
		}
	}
	return ok
}

// readFrames handles a client's frames until the connection ends.
func (d *daemon) readFrames(c *client, r *wire.Reader) error {
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		d.mu.Lock()
		for {
			if err = d.frame(c, &f); err != nil || !r.Buffered() {
				break
			}
			d.pump()
			if f, err = r.Next(); err != nil {
				break
			}
		}
		d.unlock()
		if err != nil {
			return err
		}
	}
}

// clientGone ends a client whose data connection has ended.
func (d *daemon) clientGone(c *client) {
	var ctl net.Conn
	d.locked(func() {
		c.gone = true
		ctl = c.ctlNC
		delete(d.clients, c.num)
		delete(d.byID, c.id)
		if c.worker != nil {
			d.workerGone(c.worker)
		} else {
			d.readerGone(c.num, nil)
			d.driverEndedRow(c)
			d.driverGone(c)
		}
	})
	if ctl != nil {
		_ = ctl.Close()
	}
	d.store.ReleaseClient(uint32(c.num))
	d.freeSlot(c)
}
