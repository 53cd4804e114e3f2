package preemption

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// services are both metadata services over real HTTP.
type services struct {
	notice  atomic.Bool
	expired atomic.Bool // the AWS token
	down    atomic.Bool
	tokens  atomic.Int64
	at      time.Time
}

func (s *services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := fmt.Sprint("token-", s.tokens.Load())
	switch {
	case s.down.Load():
		http.Error(w, "busy", http.StatusServiceUnavailable)
	case r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut && r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "":
		s.expired.Store(false)
		_, _ = fmt.Fprint(w, "token-", s.tokens.Add(1))
	case r.URL.Path == "/latest/meta-data/spot/instance-action":
		switch {
		case s.expired.Load() || r.Header.Get("X-aws-ec2-metadata-token") != token:
			http.Error(w, "", http.StatusUnauthorized)
		case !s.notice.Load():
			http.NotFound(w, r)
		default:
			_, _ = fmt.Fprintf(w, `{"action": "terminate", "time": %q}`, s.at.UTC().Format(time.RFC3339))
		}
	case r.URL.Path == "/computeMetadata/v1/instance/preempted" && r.Header.Get("Metadata-Flavor") == "Google":
		_, _ = fmt.Fprint(w, strings.ToUpper(fmt.Sprint(s.notice.Load())))
	default:
		http.Error(w, r.URL.Path, http.StatusBadRequest)
	}
}

func serve(t *testing.T, cloud string) (*services, *Watcher) {
	t.Helper()
	s := &services{at: time.Now().Add(2 * time.Minute).Truncate(time.Second)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	env := map[string]string{
		"RAY_CLOUD_PROVIDER": cloud, "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL + "/",
		"GCE_METADATA_HOST": strings.TrimPrefix(server.URL, "http://"),
	}
	w := detect(func(name string) string { return env[name] }, "")
	w.every = 2 * time.Millisecond
	t.Cleanup(w.client.CloseIdleConnections)
	return s, w
}

func TestNotice(t *testing.T) {
	for cloud, deadline := range map[string]time.Duration{"aws": 2*time.Minute - margin, "gcp": graceGCP - margin} {
		t.Run(cloud, func(t *testing.T) {
			s, w := serve(t, cloud)
			if n, ok, err := w.Poll(t.Context()); ok || err != nil {
				t.Fatalf("before any notice: %+v, %v, %v", n, ok, err)
			}
			s.down.Store(true)
			if _, ok, err := w.Poll(t.Context()); ok || err == nil {
				t.Fatalf("a service that is down: %v, %v", ok, err)
			}
			time.AfterFunc(10*time.Millisecond, func() { s.expired.Store(true); s.notice.Store(true); s.down.Store(false) })
			n, err := w.Wait(t.Context())
			if err != nil || n.Text == "" {
				t.Fatalf("%+v, %v", n, err)
			}
			if left := time.Until(n.Deadline); left > deadline || left < deadline-time.Minute/2 {
				t.Errorf("%s until the deadline, want about %s", left, deadline)
			}
		})
	}
}

func TestWaitEnds(t *testing.T) {
	_, w := serve(t, "aws")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Wait(ctx); err == nil {
		t.Error("no error though the context has ended")
	}
}

func TestDetect(t *testing.T) {
	none := func(string) string { return "" }
	for vendor, cloud := range map[string]string{"Amazon EC2\n": "aws", "Google\n": "gcp", "QEMU\n": "", "": ""} {
		w := detect(none, vendor)
		if (w == nil) != (cloud == "") || w != nil && w.Cloud != cloud {
			t.Errorf("%q: %+v", vendor, w)
		}
	}
	if w := detect(func(name string) string { return map[string]string{"RAY_CLOUD_PROVIDER": "local"}[name] }, "Amazon EC2"); w != nil {
		t.Errorf("a provider without notices: %+v", w)
	}
}
