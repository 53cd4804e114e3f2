package preemption

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Where the metadata services are, unless the environment says otherwise, by
// the variables that the clouds' own libraries read.
const (
	addressAWS = "http://169.254.169.254" // AWS_EC2_METADATA_SERVICE_ENDPOINT
	addressGCP = "169.254.169.254"        // GCE_METADATA_HOST, host or host:port
)

const (
	// everyAWS is what EC2's manual recommends; a notice comes two minutes before
	// the end.
	everyAWS = 5 * time.Second
	// everyGCP is short, as a notice comes graceGCP before the end.
	everyGCP = time.Second
	graceGCP = 30 * time.Second
	// margin is kept for the machine's own shutdown.
	margin = 5 * time.Second
	// callLimit bounds one question.
	callLimit = 3 * time.Second
)

// Notice says that the machine will be taken away.
type Notice struct {
	Deadline time.Time // what is to be saved must be saved by then
	Text     string    // what the cloud said, for people
}

// Watcher asks one metadata service. It is not safe for concurrent use.
type Watcher struct {
	Cloud  string // aws or gcp
	every  time.Duration
	base   string
	client *http.Client
	token  string // AWS: of this session
}

// Detect gives the watcher of the cloud that this machine belongs to, nil if
// it belongs to none that is known. RAY_CLOUD_PROVIDER says which, else the
// machine's firmware does.
func Detect(getenv func(string) string) *Watcher {
	vendor, _ := os.ReadFile("/sys/class/dmi/id/sys_vendor")
	return detect(getenv, string(vendor))
}

func detect(getenv func(string) string, vendor string) *Watcher {
	or := func(name, otherwise string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	w := &Watcher{Cloud: getenv("RAY_CLOUD_PROVIDER"), client: &http.Client{Timeout: callLimit, Transport: &http.Transport{Proxy: nil}}}
	if w.Cloud == "" {
		switch {
		case strings.HasPrefix(vendor, "Amazon EC2"):
			w.Cloud = "aws"
		case strings.HasPrefix(vendor, "Google"):
			w.Cloud = "gcp"
		}
	}
	switch w.Cloud {
	case "aws":
		w.base, w.every = strings.TrimRight(or("AWS_EC2_METADATA_SERVICE_ENDPOINT", addressAWS), "/"), everyAWS
	case "gcp":
		w.base, w.every = "http://"+or("GCE_METADATA_HOST", addressGCP), everyGCP
	default:
		return nil
	}
	return w
}

// Wait returns when there is a notice, or with the error of ctx. A service
// that does not answer is asked again: it may be switched off, or busy.
func (w *Watcher) Wait(ctx context.Context) (Notice, error) {
	defer w.client.CloseIdleConnections()
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		if n, ok, err := w.Poll(ctx); ok && err == nil {
			return n, nil
		}
		select {
		case <-ctx.Done():
			return Notice{}, ctx.Err()
		case <-ticker.C:
		}
	}
}

// Poll asks once; false if there is no notice.
func (w *Watcher) Poll(ctx context.Context) (n Notice, ok bool, err error) {
	if w.Cloud == "gcp" {
		return w.pollGCP(ctx)
	}
	return w.pollAWS(ctx)
}

func (w *Watcher) pollGCP(ctx context.Context) (n Notice, ok bool, err error) {
	code, text, err := w.ask(ctx, http.MethodGet, "/computeMetadata/v1/instance/preempted", "Metadata-Flavor", "Google")
	if err != nil || code != http.StatusOK || strings.TrimSpace(text) != "TRUE" {
		return n, false, unexpected(code, err)
	}
	return Notice{time.Now().Add(graceGCP - margin), "Compute Engine preempts the instance"}, true, nil
}

// pollAWS speaks version 2 of the service, which wants a token first; version
// 1 may be switched off.
func (w *Watcher) pollAWS(ctx context.Context) (n Notice, ok bool, err error) {
	if w.token == "" {
		code, token, err := w.ask(ctx, http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "21600")
		if err != nil || code != http.StatusOK {
			return n, false, fmt.Errorf("token: %w", unexpected(code, err))
		}
		w.token = strings.TrimSpace(token)
	}
	code, text, err := w.ask(ctx, http.MethodGet, "/latest/meta-data/spot/instance-action", "X-aws-ec2-metadata-token", w.token)
	switch {
	case err != nil:
		return n, false, err
	case code == http.StatusNotFound:
		return n, false, nil
	case code == http.StatusUnauthorized:
		w.token = "" // it has expired
	}
	if code != http.StatusOK {
		return n, false, unexpected(code, nil)
	}
	var action struct {
		Action string    `json:"action"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal([]byte(text), &action); err != nil || action.Action == "" || action.Time.IsZero() {
		return n, false, fmt.Errorf("spot/instance-action: %q is no notice", text)
	}
	return Notice{action.Time.Add(-margin), fmt.Sprintf("EC2 will %s the spot instance at %s", action.Action, action.Time.Format(time.RFC3339))}, true, nil
}

func unexpected(code int, err error) error {
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("the metadata service answers with status %d", code)
	}
	return err
}

// ask makes one request with one header.
func (w *Watcher) ask(ctx context.Context, method, path, header, value string) (code int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set(header, value)
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return resp.StatusCode, string(body), err
}
