package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"ray/internal/session"
)

// api is the HTTP interface of a cluster's head: jobs, state and logs.
type api struct {
	base    string // http://host:port, no slash at the end
	token   string // "" if authentication is off
	headers map[string]string
	client  *http.Client
	close   func() // ends what was opened to reach the cluster
}

// apiFlags are the options that every verb that speaks HTTP has.
type apiFlags struct {
	address string
	headers map[string]string
	verify  string
	timeout int
}

func (f *apiFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.address, "address", "", "the cluster: http://host:port of its dashboard, host:port of its head, or auto")
	flags.Var(jsonFlag{&f.headers}, "headers", "HTTP headers to send, as JSON (default: RAY_JOB_HEADERS)")
	flags.IntVar(&f.timeout, "timeout", 30, "seconds to wait for an answer")
	flags.StringVar(&f.verify, "verify", "true", "how the certificate of an https address is checked: true, false, or a file or directory of authorities")
	new(look).bindHidden(flags)
}

// open finds the cluster's HTTP address and this user's token for it. The
// caller calls close of the result.
func (f *apiFlags) open(ctx context.Context) (*api, error) {
	transport, err := f.transport()
	if err != nil {
		return nil, err
	}
	a := &api{headers: f.headers, client: &http.Client{Transport: transport}, close: func() {}}
	if text := os.Getenv("RAY_JOB_HEADERS"); a.headers == nil && text != "" {
		if err := json.Unmarshal([]byte(text), &a.headers); err != nil {
			return nil, usagef("RAY_JOB_HEADERS is not a JSON object of strings: %s", err)
		}
	}
	return a, a.find(ctx, f.address)
}

// transport checks certificates as --verify says.
func (f *apiFlags) transport() (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	switch f.verify {
	case "", "true", "True", "1":
		return t, nil
	case "false", "False", "0":
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the user's own wish
		return t, nil
	}
	files := []string{f.verify}
	if inside, err := os.ReadDir(f.verify); err == nil {
		files = nil
		for _, entry := range inside {
			files = append(files, filepath.Join(f.verify, entry.Name()))
		}
	}
	roots, found := x509.NewCertPool(), false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, usagef("Invalid value for '--verify': %w", err)
		}
		found = roots.AppendCertsFromPEM(text) || found
	}
	if !found {
		return nil, usagef("Invalid value for '--verify': %s holds no certificate in PEM form", f.verify)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: roots}
	return t, nil
}

// find chooses the cluster: the one given, RAY_API_SERVER_ADDRESS,
// RAY_ADDRESS, the current cluster, one on this machine, else the usual port
// here.
func (a *api) find(ctx context.Context, given string) (err error) {
	for _, text := range []string{given, os.Getenv("RAY_API_SERVER_ADDRESS"), os.Getenv("RAY_ADDRESS")} {
		if text == "" || text == "auto" || text == "local" {
			continue
		}
		return a.take(resolveAPI(text))
	}
	if given == "" {
		target, done, ok, err := clusterTarget(ctx, "")
		if ok || err != nil {
			a.base, a.token, a.close = target.url, target.token, orNothing(done)
			return err
		}
	}
	if local, ok := localHead(); ok {
		return a.take(dashboardOf(local))
	}
	return a.take("http://127.0.0.1:8265", "", nil)
}

// take keeps an address and finds the token for it: the user's, or that of
// the token file of a cluster on this machine.
func (a *api) take(base, tokenPath string, err error) error {
	if err != nil {
		return err
	}
	a.base = base
	a.token, err = tokenFor(tokenPath)
	return err
}

func resolveAPI(text string) (base, tokenPath string, err error) {
	if strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") {
		return strings.TrimRight(text, "/"), "", nil
	}
	text = strings.TrimPrefix(text, "ray://")
	all, _ := session.List()
	for _, a := range all {
		switch text {
		case a.Dashboard:
			return "http://" + text, a.TokenPath, nil
		case a.Address, a.NodeAddress:
			return dashboardOf(a)
		}
	}
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		host = text
	}
	return "http://" + net.JoinHostPort(host, "8265"), "", nil
}

func dashboardOf(a session.Announcement) (base, tokenPath string, err error) {
	if a.Dashboard == "" {
		return "", "", fmt.Errorf("the cluster at %s was started without a dashboard, which also serves jobs and state: start it with --include-dashboard=true", a.Address)
	}
	return "http://" + a.Dashboard, a.TokenPath, nil
}

// localHead is the cluster that is meant if none is named: the newest under
// this RAY_TMPDIR, else the oldest head of this user that no driver owns.
func localHead() (session.Announcement, bool) {
	all, _ := session.List()
	if a, ok := headHere(all); ok {
		return a, true
	}
	if a, ok := session.Newest(session.TempDir()); ok {
		return a, true // a node here of a head elsewhere
	}
	for _, a := range all {
		if a.Head && a.JobOwner == 0 {
			return a, true
		}
	}
	return session.Announcement{}, false
}

// headHere is the newest head that was started under this RAY_TMPDIR, also with
// a --temp-dir elsewhere or, as those of a test's clusters, in a folder below it.
func headHere(all []session.Announcement) (session.Announcement, bool) {
	root := session.TempDir()
	for _, a := range slices.Backward(all) {
		if a.Head && (a.TempDir == root || a.StartedUnder == root || strings.HasPrefix(a.TempDir, root+"/")) {
			return a, true
		}
	}
	return session.Announcement{}, false
}

// apiError is an answer other than success.
type apiError struct {
	status int
	text   string
}

func (e *apiError) Error() string {
	switch e.status {
	case http.StatusUnauthorized:
		return "the cluster wants its token and none was found: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, or copy the head's ~/.ray/auth_token"
	case http.StatusForbidden:
		return "the cluster does not accept this token: it belongs to another cluster. Set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the token of this one"
	}
	if e.text != "" {
		return e.text
	}
	return fmt.Sprintf("the cluster answered %d %s", e.status, http.StatusText(e.status))
}

// request makes an HTTP request with the token; path starts with a slash.
func (a *api) request(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Request, error) {
	full := a.base + path
	if len(query) > 0 {
		full += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, full, body)
	if err != nil {
		return nil, usagef("the address %q is not valid: %s", a.base, err)
	}
	for k, v := range a.headers {
		r.Header.Set(k, v)
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	return r, nil
}

// send gives the answer's body, which the caller closes, or an error.
func (a *api) send(r *http.Request) (io.ReadCloser, error) {
	answer, err := a.client.Do(r)
	if err != nil {
		return nil, a.unreachable(err)
	}
	if answer.StatusCode < 300 {
		return answer.Body, nil
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	return nil, &apiError{status: answer.StatusCode, text: strings.TrimSpace(string(text))}
}

func (a *api) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("nothing answers at %s: no cluster runs there. Start one with `ray start --head` or `ray up`, or name another by --address or RAY_API_SERVER_ADDRESS", a.base)
	}
	return fmt.Errorf("cannot reach the cluster at %s: %w", a.base, err)
}

// call sends a JSON body, or none, and reads a JSON answer into reply.
func (a *api) call(ctx context.Context, method, path string, query url.Values, body, reply any) error {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	r, err := a.request(ctx, method, path, query, reader)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := a.send(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }()
	if reply == nil {
		return nil
	}
	if err := json.NewDecoder(answer).Decode(reply); err != nil {
		return fmt.Errorf("the answer of %s is not what was expected: %w", a.base, err)
	}
	return nil
}

// state asks the state API and gives data.result of its answer.
func (a *api) state(ctx context.Context, path string, query url.Values) (json.RawMessage, error) {
	var reply struct {
		Result bool   `json:"result"`
		Msg    string `json:"msg"`
		Data   struct {
			Result json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := a.call(ctx, http.MethodGet, "/api/v0/"+path, query, nil, &reply); err != nil {
		return nil, err
	}
	if !reply.Result {
		return nil, errors.New(reply.Msg)
	}
	return reply.Data.Result, nil
}

// rows reads a list of the state API into a slice.
func (a *api) rows(ctx context.Context, kind string, query url.Values, into any) error {
	data, err := a.state(ctx, kind, query)
	if err != nil {
		return err
	}
	reply := struct {
		Rows any `json:"result"`
	}{into}
	if err := json.Unmarshal(data, &reply); err != nil {
		return fmt.Errorf("the list of %s is not what was expected: %w", kind, err)
	}
	return nil
}

// within limits a call that should answer at once.
func (f *apiFlags) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(f.timeout)*time.Second)
}
