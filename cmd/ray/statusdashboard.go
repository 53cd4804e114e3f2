package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ray/internal/spec"
)

// errNoStatusYet: the head is there, but has nothing to say yet.
var errNoStatusYet = errors.New("the cluster has no status yet")

// Limits of one answer of the dashboard.
const (
	answerLimit = 30 * time.Second
	answerBytes = 64 << 20
)

// nodeLogs are the files that hold a node daemon's log, in order of interest.
var nodeLogs = []string{"raylet.err", "raylet.out"}

// dashboard asks a head's HTTP API, or for the status the head itself. It is
// the source of `ray status`.
type dashboard struct {
	target statusTarget
	client *http.Client
}

func newDashboard(t statusTarget) *dashboard {
	return &dashboard{target: t, client: &http.Client{Timeout: answerLimit}}
}

// Status is the cluster's status.
func (d *dashboard) Status(ctx context.Context) (spec.Status, error) {
	var status spec.Status
	if d.target.url == "" {
		err := callHeadAs(ctx, d.target.auth, d.target.head, "status", struct{}{}, &status)
		return status, err
	}
	body, err := d.get(ctx, "/api/v1/status")
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return status, fmt.Errorf("%s answered something else than a status: %w", d.target.url, err)
	}
	return status, nil
}

// Logs are the last lines of the log of a node's daemon.
func (d *dashboard) Logs(ctx context.Context, node spec.NodeID, lines int) ([]string, error) {
	if d.target.url == "" {
		return nil, errors.New("logs are read through the dashboard: start the head with --include-dashboard=true, or name the dashboard by --address http://HOST:8265")
	}
	var firstErr error
	for _, name := range nodeLogs {
		query := url.Values{"node_id": {node.String()}, "filename": {name}, "lines": {strconv.Itoa(lines)}}
		body, err := d.get(ctx, "/api/v0/logs/file?"+query.Encode())
		if err != nil {
			firstErr = errors.Join(firstErr, err)
			continue
		}
		if text := strings.TrimRight(string(body), "\n"); text != "" {
			all := strings.Split(text, "\n")
			return all[max(0, len(all)-lines):], nil
		}
		firstErr = nil
	}
	return nil, firstErr
}

func (d *dashboard) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.target.url+path, nil)
	if err != nil {
		return nil, err
	}
	if d.target.token != "" {
		request.Header.Set("Authorization", "Bearer "+d.target.token)
	}
	response, err := d.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the head does not answer at %s: %w", d.target.url, unwrapURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerBytes))
	if err != nil {
		return nil, fmt.Errorf("the answer of %s broke off: %w", d.target.url, err)
	}
	return body, d.refusal(response.StatusCode, body)
}

// refusal is the error that an HTTP status means, nil if it means none.
func (d *dashboard) refusal(code int, body []byte) error {
	switch {
	case code == http.StatusOK:
		return nil
	case code == http.StatusServiceUnavailable:
		return errNoStatusYet
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%s refused the token: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to that of this cluster", d.target.url)
	}
	text := strings.TrimSpace(string(body[:min(len(body), 300)]))
	return fmt.Errorf("%s answered %d %s: %s", d.target.url, code, http.StatusText(code), text)
}

// unwrapURL takes the repeated URL out of an HTTP client's error.
func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
