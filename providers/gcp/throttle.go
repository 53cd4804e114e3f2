package gcp

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// throttled makes calls again that the service refused as too many or was too
// busy for. The clients' own retrying knows neither.
type throttled struct{ next http.RoundTripper }

const (
	callTries = 8
	firstWait = 200 * time.Millisecond
	mostWait  = 5 * time.Second
)

// RoundTrip implements http.RoundTripper.
func (t throttled) RoundTrip(r *http.Request) (*http.Response, error) {
	r = bound(r)
	for try := 1; ; try++ {
		resp, err := t.next.RoundTrip(r)
		if err != nil || try == callTries || r.Body != nil && r.GetBody == nil || !again(r.Method, resp) {
			return resp, err
		}
		_ = resp.Body.Close()
		wait := min(firstWait<<(try-1), mostWait)
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(wait/2 + rand.N(wait)): // not all callers at once
		}
		if r.Body != nil {
			r = r.Clone(r.Context())
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// again tells whether the answer means: later. A refused call was not made; one
// that failed in the service may have been, and only reading is repeated.
func again(method string, resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return method == http.MethodGet
	case http.StatusForbidden:
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return err == nil && (strings.Contains(string(body), `"rateLimitExceeded"`) || strings.Contains(string(body), `"userRateLimitExceeded"`))
	}
	return false
}
