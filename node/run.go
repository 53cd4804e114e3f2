package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"ray/internal/objectstore"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/machine"
	"ray/node/owner"
	"ray/node/pool"
	"ray/node/proc"
	"ray/node/runtimeenv"
	"ray/node/transfer"
)

// Run is the daemon: it serves until ctx ends, the head tells it to shut down
// or its owner goes, and returns after every process that it started is gone.
func Run(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := c.complete(); err != nil {
		return err
	}
	err := newDaemon(ctx, c).serve()
	c.JoinSeconds = 0 // it was there: what has become of it shows sooner
	for errors.Is(err, errCutOff) && ctx.Err() == nil && !c.Head && c.OwnerFD == 0 && c.OwnerPID == 0 {
		err = newDaemon(ctx, c).serve() // as a new node
	}
	if errors.Is(err, errShutdown) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (c *Config) cpus() int { return max(1, int(c.Resources[spec.CPU]/spec.FixedScale)) }

// complete fills in what was left to the daemon.
func (c *Config) complete() error {
	if c.NodeName == "" {
		c.NodeName = c.NodeIP
	}
	if c.BindHost == "" {
		c.BindHost = c.NodeIP
	}
	if c.Socket == "" {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		c.Socket = filepath.Join("/tmp", "ray-"+strconv.Itoa(os.Getuid()), hex.EncodeToString(b[:]), "node.sock")
	}
	c.Resources = c.Resources.Clone()
	if c.Resources == nil {
		c.Resources = spec.Resources{}
	}
	if _, ok := c.Resources[spec.CPU]; !ok {
		c.Resources[spec.CPU] = spec.Fixed(machine.CPUs(runtime.NumCPU())) * spec.FixedScale
	}
	mem := int64(machine.MemoryTotal())
	if mem == 0 {
		return errors.New("read the size of memory: /proc/meminfo tells none")
	}
	if c.ObjectStoreBytes == 0 {
		c.ObjectStoreBytes = max(75<<20, min(200<<30, mem*3/10))
	}
	c.Resources[spec.ObjectStoreMemory] = spec.Fixed(c.ObjectStoreBytes) * spec.FixedScale
	if _, ok := c.Resources[spec.Memory]; !ok {
		c.Resources[spec.Memory] = spec.Fixed(max(0, mem*7/10)) * spec.FixedScale
	}
	maps.DeleteFunc(c.Resources, func(_ string, v spec.Fixed) bool { return v == 0 }) // none of it was declared
	c.Resources["node:"+c.NodeIP] = spec.FixedScale
	if c.Head {
		c.Resources[spec.HeadResource] = spec.FixedScale
	}
	return os.MkdirAll(filepath.Join(c.SessionDir, "logs"), 0o700)
}

// serve is the daemon's whole life.
func (d *daemon) serve() (err error) {
	d.pool = pool.New(d.cfg.Resources)
	d.pid = os.Getpid()
	d.hostname, _ = os.Hostname() // only shown to people
	if d.cfg.Labels == nil {
		d.cfg.Labels = map[string]string{}
	}
	d.cfg.Labels["ray.io/node-id"] = d.self.String()
	keep, err := d.cfg.SystemNumber("scheduler_local_queue_threshold", 0)
	if err != nil {
		return err
	}
	d.keepQueued = int(keep)
	if d.avoidGPUs, err = d.cfg.systemBool("scheduler_avoid_gpu_nodes", true); err != nil {
		return err
	}
	if d.collector, err = newCollector(&d.cfg); err != nil {
		return err
	}
	stored := objectstore.Config{Capacity: uint64(d.cfg.ObjectStoreBytes), Dir: d.cfg.StoreDir, OnEvict: d.onEvict, Log: d.log}
	if d.store, err = objectstore.New(stored); err != nil {
		return fmt.Errorf("object store: %w", err)
	}
	d.adm = newAdmission(uint64(d.cfg.ObjectStoreBytes))
	for i := d.store.Slots() - 1; i > 0; i-- {
		d.slots = append(d.slots, i)
	}
	d.procs = proc.New(proc.Config{LogDir: filepath.Join(d.cfg.SessionDir, "logs"), PackageDir: d.cfg.PackageDir, Log: d.log,
		OnForked: d.onForked, OnExit: d.onExit, OnLines: d.onLines})
	d.head = &headLink{d: d}
	d.envMaker = runtimeenv.New(runtimeenv.Config{Dir: filepath.Join(d.cfg.SessionDir, envDir),
		LogDir: filepath.Join(d.cfg.SessionDir, "logs"), Fetch: d.fetchPackage, Package: d.cfg.PackageDir,
		Mounts: []string{d.cfg.SessionDir, d.cfg.PackageDir, filepath.Dir(d.cfg.Socket)}})
	d.fetcher = transfer.NewFetcher(d.self, d.dialBulk, d.store)
	d.giver = transfer.NewServer(d.store, d.fetcher)
	err = d.listen()
	if err == nil {
		err = d.work()
	}
	d.shutdown(err)
	return err
}

// work runs until the daemon is told to end.
func (d *daemon) work() error {
	if d.cfg.Head {
		if err := d.startHead(); err != nil {
			return err
		}
	}
	if d.cfg.OwnerPID != 0 && len(d.cfg.Pythons) > 0 {
		// The owner's first task comes at once, with this interpreter: start its
		// fork server beside the head. Other clusters stay small until they are used.
		d.procs.Warm(proc.WorkerSpec{Python: d.cfg.Pythons[0]})
	}
	d.pythons = d.pythonList()
	ctx, cancel := context.WithTimeout(d.ctx, time.Duration(cmp.Or(d.cfg.JoinSeconds, 60))*time.Second)
	err := d.head.connect(ctx)
	cancel()
	if cause := context.Cause(d.ctx); err != nil && cause != nil {
		return cause // the head has been given up
	}
	if err != nil {
		return fmt.Errorf("connect to the head at %s: %w", d.cfg.HeadAddress, err)
	}
	if err := d.configure(); err != nil {
		return err
	}
	d.sessions = &wire.Sessions{Self: d.self.String(), Accept: d.acceptPeer}
	d.remotes = &wire.Sessions{Self: d.self.String(), Accept: d.acceptRemote, Grace: driverGrace(), Silence: driverSilence}
	h := wire.Handlers{Client: d.remotes, Sessions: d.sessions,
		Bulk: func(c net.Conn) {
			if err := d.giver.Serve(c); err != nil {
				d.log.Debug("bulk connection has ended", "err", err)
			}
		},
		Refused: func(a net.Addr, err error) { d.log.Warn("connection refused", "from", a.String(), "err", err) }}
	if d.cfg.Head {
		h.Witness = d.testify
	}
	d.port.Serve(h)
	for _, l := range d.clientPorts {
		l.Serve(wire.Handlers{Client: h.Client, Refused: h.Refused})
	}
	d.goes(func() { d.acceptLocal(d.unix) })
	d.goes(d.tick)
	d.goes(d.watchMemory)
	d.goes(d.watchPreemption)
	if !d.cfg.Head {
		d.goes(d.keepLease)
	}
	d.watchOwner()
	if d.cfg.Announce != nil {
		a := Announcement{ClusterID: d.cluster.ClusterID, ClusterName: d.cluster.ClusterName, NodeID: d.self, NodeIP: d.cfg.NodeIP, Head: d.cfg.Head,
			Address: d.cfg.HeadAddress, NodeAddress: d.address, Socket: d.cfg.Socket, SessionDir: d.cfg.SessionDir, SessionName: d.cfg.SessionName,
			TmpDir: d.cfg.TmpDir, Dashboard: d.cluster.Dashboard, MetricsAddress: d.metricsAddress, TokenPath: d.cfg.TokenPath, JobOwner: d.cfg.OwnerPID}
		if err := d.cfg.Announce(a); err != nil {
			return err
		}
	}
	d.log.Info("node serves", "node", d.self, "address", d.address, "socket", d.cfg.Socket)
	<-d.ctx.Done()
	return context.Cause(d.ctx)
}

// shutdown ends everything that the daemon has started.
func (d *daemon) shutdown(why error) {
	d.log.Info("node ends", "why", why)
	d.mu.Lock()
	d.down = true
	d.pool.Close()
	d.mu.Unlock()
	if d.cfg.Retract != nil {
		d.cfg.Retract(d.self)
	}
	// What ran here has ended before others may begin it anew.
	d.procs.Close()
	if d.head.peer != nil {
		d.head.notify(wire.MethodUnregister, struct{}{})
	}
	d.stop(why)
	if d.unix != nil {
		_ = d.unix.Close()
		_ = os.Remove(d.cfg.Socket)
		_ = os.Remove(dirOf(d.cfg.Socket))
	}
	d.connMu.Lock()
	d.connsClosed = true
	for c := range d.conns {
		_ = c.Close()
	}
	d.connMu.Unlock()
	for _, l := range append(d.clientPorts, d.port) {
		if l != nil {
			_ = l.Close()
		}
	}
	if d.remotes != nil {
		d.remotes.Close()
	}
	if d.sessions != nil {
		d.sessions.Close()
	}
	d.fetcher.Close()
	d.envMaker.Close()
	if d.head.peer != nil {
		_ = d.head.peer.Close()
	}
	d.stopHead()
	d.tasks.Wait()
	if err := d.store.Close(); err != nil {
		d.log.Warn("object store", "err", err)
	}
}

func (d *daemon) onEvict(ids []spec.ObjectID) {
	// The store may call this under the daemon's lock.
	d.goes(func() {
		d.locked(func() {
			for _, id := range ids {
				if o := d.own.Object(id); o != nil && o.Where == owner.Arena && !d.store.Has(id) {
					d.own.Evicted(id)
				}
			}
		})
	})
}

func (d *daemon) pythonList() []string {
	var out []string
	for _, p := range d.cfg.Pythons {
		if d.cfg.OwnerPID != 0 {
			continue
		}
		if v := d.pythonVersion(p); v != "unknown" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
