package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// HostState is one line of GET /hosts.
type HostState struct {
	ID      string `json:"id"`
	Addr    string `json:"addr"`
	Up      bool   `json:"up"`
	Crashed bool   `json:"crashed,omitempty"`
}

// call is one request to the bed's controls.
type call struct{ r *http.Request }

func (c call) query(key string) string { return c.r.URL.Query().Get(key) }

func (c call) number(key string) (int, error) {
	n, err := strconv.Atoi(c.query(key))
	if err != nil {
		return 0, fmt.Errorf("%s=%q is no number", key, c.query(key))
	}
	return n, nil
}

func (c call) body(into any) error {
	data, err := io.ReadAll(io.LimitReader(c.r.Body, 1<<20))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// controls is the bed's own interface, by which the command makes trouble:
//
//	GET /hosts                  the hosts and whether they are up
//	GET /instances              what the cloud says there is, ended ones left out
//	POST /crash?id=I            pulls the plug of a host; the cloud does not notice
//	POST /unplug?id=I, /plug?id=I   takes a host's cable out, puts it in
//	POST /interrupt?id=I&in=2s  notice, then the end, of a spot instance
//	POST /faults, DELETE /faults    a fault.Fault as JSON
//	GET /faults                 those that calls have met
//	GET /calls                  what was asked of the cloud
//	POST /lag?for=5s            (aws) lists show new instances late
//	POST /throttle?calls=N      (gcp) refuses the next calls
func (c *cloud) controls() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(call) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := f(call{r})
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	host := func(do func(m *member) error) func(call) (any, error) {
		return func(r call) (any, error) {
			m, err := c.member(r.query("id"))
			if err != nil {
				return nil, err
			}
			return nil, do(m)
		}
	}
	handle("GET /instances", func(r call) (any, error) { return c.list(r.r.Context()) })
	handle("GET /hosts", func(call) (any, error) { return c.states(), nil })
	handle("POST /crash", host(func(m *member) error { m.crash(); return nil }))
	handle("POST /unplug", host(func(m *member) error { return m.cable((*Host).Unplug) }))
	handle("POST /plug", host(func(m *member) error { return m.cable((*Host).Plug) }))
	handle("POST /interrupt", func(r call) (any, error) {
		m, err := c.member(r.query("id"))
		if err != nil {
			return nil, err
		}
		in, err := time.ParseDuration(r.query("in"))
		if err != nil {
			return nil, err
		}
		m.meta.notice(time.Now().Add(in))
		c.all.Go(func() {
			time.Sleep(in) // the cloud keeps its word, whoever waits
			if err := c.spot(context.Background(), m); err != nil {
				complain(m.ID, err)
			}
			c.touched()
		})
		return nil, nil
	})
	for pattern, f := range c.control {
		handle(pattern, f)
	}
	return mux
}

func (m *member) cable(do func(*Host) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.up {
		return errors.New("the host is off")
	}
	return do(m.host)
}

func (f *fleet) states() []HostState {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []HostState{}
	for _, m := range f.members {
		m.mu.Lock()
		out = append(out, HostState{ID: m.ID, Addr: m.Addr, Up: m.up, Crashed: m.crashed})
		m.mu.Unlock()
	}
	return out
}
