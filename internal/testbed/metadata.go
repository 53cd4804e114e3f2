package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const metadataAddr = "169.254.169.254"

// listenInside listens at the metadata service's address in the network of
// another process. A socket stays in the network where it was made, whoever
// uses it, so one process serves all hosts.
func listenInside(pid int) (net.Listener, error) {
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread has left this network
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, fmt.Errorf("entering the host's network: %w", err)}
			return
		}
		free := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			return c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1) })
		}}
		l, err := free.Listen(context.Background(), "tcp4", metadataAddr+":80")
		done <- result{l, err}
	}()
	r := <-done
	return r.l, r.err
}

// Metadata is the metadata service of one instance. Entries are by path and
// may change while it is asked. The zero value is EC2's with nothing in it.
type Metadata struct {
	Google bool // Compute Engine's rules instead of EC2's

	mu      sync.Mutex
	entries map[string]string
}

// Set gives the answer at a path; "" is none.
func (m *Metadata) Set(path, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[string]string{}
	}
	m.entries[path] = value
}

const sessionToken = "testbed-metadata-token" // of version 2 of EC2's service

// ServeHTTP implements http.Handler. As the real ones it wants a header, which
// keeps out who can make a program only fetch a URL.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case m.Google && r.Header.Get("Metadata-Flavor") != "Google":
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
		return
	case m.Google:
		w.Header().Set("Metadata-Flavor", "Google")
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		if ttl := r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"); ttl == "" {
			w.WriteHeader(http.StatusBadRequest)
		} else {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", ttl)
			_, _ = w.Write([]byte(sessionToken))
		}
		return
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != sessionToken:
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	m.mu.Lock()
	value := m.entries[strings.TrimSuffix(r.URL.Path, "/")]
	m.mu.Unlock()
	if value == "" {
		http.NotFound(w, r)
		return
	}
	if value[0] == '{' {
		w.Header().Set("Content-Type", "application/json")
	}
	_, _ = w.Write([]byte(value))
}

// jsonText is a value as the text of its JSON.
func jsonText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and maps only
	}
	return string(data)
}

// ec2Metadata is what an EC2 instance can ask about itself.
func ec2Metadata(i Instance) *Metadata {
	m := &Metadata{}
	for path, value := range map[string]string{
		"instance-id": i.ID, "local-ipv4": i.Addr, "public-ipv4": i.Public, "instance-type": i.Type, "instance-life-cycle": i.Market,
		"placement/availability-zone": i.Zone, "placement/region": i.Region, "iam/security-credentials": i.Role,
	} {
		m.Set("/latest/meta-data/"+path, value)
	}
	m.Set("/latest/dynamic/instance-identity/document", jsonText(map[string]string{
		"region": i.Region, "instanceId": i.ID, "instanceType": i.Type, "availabilityZone": i.Zone, "privateIp": i.Addr,
	}))
	if i.Role != "" {
		now := time.Now().UTC()
		m.Set("/latest/meta-data/iam/security-credentials/"+i.Role, jsonText(map[string]string{
			"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIATESTBED000000000", "SecretAccessKey": "testbed", "Token": "testbed",
			"LastUpdated": now.Format(time.RFC3339), "Expiration": now.Add(6 * time.Hour).Format(time.RFC3339),
		}))
	}
	return m
}

// gceMetadata is what a Compute Engine instance can ask about itself.
func gceMetadata(i Instance) *Metadata {
	m := &Metadata{Google: true}
	const at = "/computeMetadata/v1/"
	for path, value := range map[string]string{
		"instance/name": i.ID, "instance/hostname": i.ID, "instance/zone": "projects/1/zones/" + i.Zone, "project/project-id": i.Region,
		"instance/machine-type": "projects/1/machineTypes/" + i.Type, "instance/network-interfaces/0/ip": i.Addr,
		"instance/preempted": "FALSE", "instance/maintenance-event": "NONE",
	} {
		m.Set(at+path, value)
	}
	if i.Role != "" {
		m.Set(at+"instance/service-accounts/default/email", i.Role)
		m.Set(at+"instance/service-accounts/default/token", jsonText(map[string]any{"access_token": "testbed", "expires_in": 3600, "token_type": "Bearer"}))
	}
	return m
}

// notice tells the instance that its cloud takes it back at a time.
func (m *Metadata) notice(at time.Time) {
	if m.Google {
		m.Set("/computeMetadata/v1/instance/preempted", "TRUE")
		return
	}
	when := at.UTC().Format(time.RFC3339)
	m.Set("/latest/meta-data/spot/instance-action", jsonText(map[string]string{"action": "terminate", "time": when}))
	m.Set("/latest/meta-data/spot/termination-time", when)
}
