// Package gs reads objects of Google Cloud Storage through its JSON API. It
// exists so that the rest of the program can fetch gs:// packages without a
// client library. The runtime environments of a node may import it.
package gs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const (
	endpoint = "https://storage.googleapis.com"
	scope    = "https://www.googleapis.com/auth/devstorage.read_only"
	// answer bounds the wait for the first bytes.
	answer = time.Minute
)

// Open gives the content of gs://bucket/object. Credentials are the
// application default ones; without any, only public objects can be read.
// STORAGE_EMULATOR_HOST names another server, which gets no credentials. The
// caller closes the reader.
func Open(ctx context.Context, bucket, object string) (io.ReadCloser, error) {
	base, authorization, err := server(ctx)
	if err != nil {
		return nil, err
	}
	target := base + "/storage/v1/b/" + url.PathEscape(bucket) + "/o/" + url.PathEscape(object) + "?alt=media"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	if authorization != nil {
		authorization.SetAuthHeader(req)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answer
	transport.DisableKeepAlives = true // one request: nothing to keep open
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	return nil, errors.Join(explain(res.StatusCode, bucket, authorization != nil), res.Body.Close())
}

// server says where to ask, and as whom; nil: as nobody.
func server(ctx context.Context) (string, *oauth2.Token, error) {
	if host := os.Getenv("STORAGE_EMULATOR_HOST"); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		return strings.TrimSuffix(host, "/"), nil, nil
	}
	found, err := google.FindDefaultCredentials(ctx, scope)
	if err != nil {
		if path := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"); path != "" {
			return "", nil, fmt.Errorf("the credentials of GOOGLE_APPLICATION_CREDENTIALS (%s) cannot be used: %w", path, err)
		}
		return endpoint, nil, nil
	}
	token, err := found.TokenSource.Token()
	if err != nil {
		return "", nil, fmt.Errorf("the Google credentials of the node give no token: %w", err)
	}
	return endpoint, token, nil
}

func explain(status int, bucket string, known bool) error {
	switch {
	case status == http.StatusNotFound:
		return fmt.Errorf("the bucket %s has no such object, or there is no such bucket", bucket)
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && !known:
		return fmt.Errorf("the bucket %s is not public and the node has no Google credentials: set GOOGLE_APPLICATION_CREDENTIALS on it, or give the machine a service account", bucket)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("the service account of the node may not read the bucket %s: give it roles/storage.objectViewer", bucket)
	}
	return fmt.Errorf("the server answered %d %s", status, http.StatusText(status))
}
