package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"ray/internal/spec"
	"ray/node/metrics"
)

// serveMetrics opens the node's /metrics: on loopback, or at the node's own
// address if a port was asked for, so that nothing is exposed unasked.
func (d *daemon) serveMetrics() error {
	host := "127.0.0.1"
	if d.cfg.MetricsPort != 0 {
		host = d.cfg.NodeIP
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(d.cfg.MetricsPort)))
	if err != nil {
		return fmt.Errorf("serve metrics: %w; choose another --metrics-export-port", err)
	}
	d.metricsAddress = l.Addr().String()
	d.cfg.MetricsPort = l.Addr().(*net.TCPAddr).Port
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", d.writeMetrics)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	d.goes(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Warn("metrics are not served any more", "err", err)
		}
	})
	context.AfterFunc(d.ctx, func() { _ = server.Close() })
	return nil
}

func (d *daemon) writeMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	common := map[string]string{"NodeAddress": d.cfg.NodeIP, "SessionName": d.cfg.SessionName}
	var own metrics.Registry
	if err := own.Add(d.gauges()...); err != nil {
		d.log.Warn("a figure of the node is missing in its metrics", "err", err)
	}
	if err := errors.Join(own.Write(w, common), d.recorded.Write(w, common)); err != nil {
		d.log.Debug("metrics were not read to the end", "err", err)
	}
}

// gauges are the daemon's own figures, with upstream's names where it has them.
func (d *daemon) gauges() []metrics.Record {
	d.mu.Lock()
	total, available := d.pool.Total(), d.pool.Available()
	objects, tasks, actors := d.own.Counts()
	states := map[string]int{"PENDING_NODE_ASSIGNMENT": d.pool.Queued(), "RUNNING": d.pool.Running()}
	workers, clients := len(d.workers), len(d.clients)
	d.mu.Unlock()
	g := func(name, help string, v float64, tags ...string) metrics.Record {
		r := metrics.Record{Name: name, Kind: metrics.Gauge, Description: help, Value: v, Tags: map[string]string{}}
		for i := 0; i+1 < len(tags); i += 2 {
			r.Tags[tags[i]] = tags[i+1]
		}
		return r
	}
	out := append(d.storeGauges(g),
		g("owned_objects", "Entries of the reference table.", float64(objects)),
		g("owned_tasks", "Tasks owned here that are not forgotten.", float64(tasks)),
		g("known_actors", "Actors that this node calls or owns.", float64(actors)),
		g("workers", "Worker processes.", float64(workers)),
		g("clients", "Connected drivers and workers.", float64(clients)),
	)
	for state, n := range states {
		out = append(out, g("tasks", "Tasks on this node by state.", float64(n), "State", state))
	}
	for _, name := range total.Names() {
		if name == spec.HeadResource {
			continue
		}
		out = append(out,
			g("resources", "Logical resources.", available[name].Float(), "Name", name, "State", "AVAILABLE"),
			g("resources", "Logical resources.", (total[name]-available[name]).Float(), "Name", name, "State", "USED"))
	}
	return out
}

// storeGauges are the figures of the object store and of its traffic.
func (d *daemon) storeGauges(g func(name, help string, v float64, tags ...string) metrics.Record) []metrics.Record {
	st := d.store.Stats()
	const memory, moved, files, wire = "Bytes of objects by place.", "Bytes moved between memory and disk.",
		"Objects moved between memory and disk.", "Bytes of objects moved between nodes."
	return []metrics.Record{
		g("object_store_memory", memory, float64(st.Used), "Location", "MMAP_SHM"),
		g("object_store_memory", memory, float64(st.Overflow), "Location", "MMAP_DISK"),
		g("object_store_memory", memory, float64(st.Spilled), "Location", "SPILLED"),
		g("object_store_used_memory", "Bytes of the store in use.", float64(st.Used)),
		g("object_store_available_memory", "Bytes of the store that are free.", float64(st.Capacity-st.Used)),
		g("object_store_fallback_memory", "Bytes of objects in memory that a file backs.", float64(st.Overflow)),
		g("object_store_num_local_objects", "Objects in the memory of this node's store.", float64(st.Objects)),
		g("spill_manager_bytes", moved, float64(st.SpilledTotal), "Type", "Spilled"),
		g("spill_manager_bytes", moved, float64(st.RestoredTotal), "Type", "Restored"),
		g("spill_manager_request_total", files, float64(st.SpilledObjects), "Type", "Spilled"),
		g("spill_manager_request_total", files, float64(st.RestoredObjects), "Type", "Restored"),
		g("object_manager_bytes", wire, float64(d.giver.Sent()), "Type", "PushedFromLocalPlasma"),
		g("object_manager_bytes", wire, float64(d.fetcher.Received()), "Type", "Received"),
	}
}

// recordMetrics takes what a program measured.
func (d *daemon) recordMetrics(text []byte) error {
	var in struct {
		Records []metrics.Record `json:"records"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return fmt.Errorf("metrics.record: %w", err)
	}
	return d.recorded.Add(in.Records...)
}
