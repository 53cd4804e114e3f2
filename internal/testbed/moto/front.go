package moto

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ray/internal/testbed/fault"
)

// Call is one call that was made.
type Call struct {
	Time    time.Time         `json:"time"`
	From    string            `json:"from"` // address of the caller
	Service string            `json:"service"`
	Region  string            `json:"region"`
	Action  string            `json:"action"`
	Params  map[string]string `json:"params,omitempty"`
	Status  int               `json:"status"`
	Error   string            `json:"error,omitempty"` // the code of an error that was made up
}

// Front is the service as its users see it. It is an http.Handler.
type Front struct {
	Faults fault.List
	// Called is told of every call that was answered; nil is nobody.
	Called func(Call)

	back *url.URL
	web  *httputil.ReverseProxy

	mu     sync.Mutex
	lag    time.Duration
	page   int
	young  map[string]time.Time // instance → when it was made
	calls  []Call
	places map[string]bool // regions that were asked for instances

	one     sync.Mutex         // one call at a time: moto's threads share what they do not guard
	running sync.Mutex         // one RunInstances at a time
	tokens  map[string]request // by region and client token
}

// request is one that EC2 answers only once: moto knows no client tokens.
type request struct {
	form   string
	answer []byte
}

// NewFront puts a front before the moto at the address.
func NewFront(address string) (*Front, error) {
	back, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	f := &Front{back: back, young: map[string]time.Time{}, places: map[string]bool{}, tokens: map[string]request{}}
	f.web = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(back); r.Out.Host = r.In.Host },
		ModifyResponse: f.answered,
	}
	return f, nil
}

// Lag makes new instances show in lists only after a while.
func (f *Front) Lag(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lag = d
}

// PageSize makes lists of instances come in pages of n reservations; 0 is moto's own size.
func (f *Front) PageSize(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.page = n
}

// Calls lists what was asked, in order.
func (f *Front) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// asked is what answered must know of a request.
type asked struct{ action, token, form string }

type askedKey struct{}

// reScope finds region and service in a signature.
var reScope = regexp.MustCompile(`Credential=[^/]+/\d+/([^/]+)/([^/]+)/`)

// statuses of errors that are not 400.
var statuses = map[string]int{
	"RequestLimitExceeded": 503, "InsufficientInstanceCapacity": 500, "UnauthorizedOperation": 403, "InternalError": 500,
	"Unavailable": 503, "AccessDenied": 403,
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form, _ := url.ParseQuery(string(body)) // what is no form has no action
	c := Call{Time: time.Now(), From: host(r.RemoteAddr), Action: form.Get("Action"), Params: map[string]string{}}
	if m := reScope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		c.Region, c.Service = m[1], m[2]
	}
	for k := range form {
		c.Params[k] = form.Get(k)
	}
	met := f.Faults.Take(c.Action, form.Get)
	if met != nil {
		time.Sleep(time.Duration(met.Seconds * float64(time.Second)))
	}
	if met != nil && met.Code != "" {
		c.Status, c.Error = refuse(w, c.Service, *met), met.Code
		f.note(c)
		return
	}
	f.mu.Lock()
	if f.page > 0 && c.Action == "DescribeInstances" && form.Get("MaxResults") == "" && form.Get("InstanceId.1") == "" {
		form.Set("MaxResults", strconv.Itoa(f.page))
		body = []byte(form.Encode())
	}
	f.mu.Unlock()
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	asked := asked{action: c.Action}
	if token := form.Get("ClientToken"); c.Action == "RunInstances" && token != "" {
		f.running.Lock()
		defer f.running.Unlock()
		key := c.Region + "/" + token
		if before, ok := f.tokens[key]; ok {
			c.Status, c.Error = repeat(w, before, form.Encode())
			f.note(c)
			return
		}
		asked.token, asked.form = key, form.Encode()
	}
	// A call that has begun is made, whoever has given it up.
	r = r.WithContext(context.WithValue(context.WithoutCancel(r.Context()), askedKey{}, asked))
	seen := &seen{ResponseWriter: w}
	lost := met != nil && met.Lost
	if lost {
		seen.ResponseWriter = nowhere{http.Header{}}
	}
	f.pass(seen, r)
	if c.Status = seen.status; lost {
		c.Error = "answer lost"
	}
	f.note(c)
	if lost {
		panic(http.ErrAbortHandler) // closes the connection
	}
}

// pass asks moto; it panics if the caller has gone.
func (f *Front) pass(w http.ResponseWriter, r *http.Request) {
	f.one.Lock()
	defer f.one.Unlock()
	f.web.ServeHTTP(w, r)
}

// repeat answers a request that was answered before.
func repeat(w http.ResponseWriter, before request, form string) (status int, code string) {
	if before.form != form {
		code = "IdempotentParameterMismatch"
		return refuse(w, "ec2", fault.Fault{Code: code, Message: "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."}), code
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write(before.answer)
	return http.StatusOK, ""
}

func host(address string) string { return address[:max(strings.LastIndexByte(address, ':'), 0)] }

func (f *Front) note(c Call) {
	f.mu.Lock()
	f.calls = append(f.calls, c)
	if c.Service == "ec2" {
		f.places[c.Region] = true
	}
	f.mu.Unlock()
	if f.Called != nil {
		f.Called(c)
	}
}

// seen remembers the status of an answer.
type seen struct {
	http.ResponseWriter
	status int
}

func (s *seen) WriteHeader(status int) { s.status = status; s.ResponseWriter.WriteHeader(status) }

// nowhere loses an answer.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

func refuse(w http.ResponseWriter, service string, f fault.Fault) int {
	status := cmp.Or(f.Status, statuses[f.Code], http.StatusBadRequest)
	inner := fmt.Sprintf("<Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error>", text(f.Code), text(cmp.Or(f.Message, "as the test bed was told")))
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	if service == "ec2" {
		_, _ = fmt.Fprintf(w, "<Response><Errors>%s</Errors><RequestID>testbed</RequestID></Response>", inner)
	} else {
		_, _ = fmt.Fprintf(w, "<ErrorResponse>%s<RequestId>testbed</RequestId></ErrorResponse>", inner)
	}
	return status
}

func text(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

var reInstance = regexp.MustCompile(`<instanceId>(i-[0-9a-f]+)</instanceId>`)

// answered notes new instances, and leaves them out of lists while they are young.
func (f *Front) answered(r *http.Response) error {
	a, _ := r.Request.Context().Value(askedKey{}).(asked)
	if r.StatusCode != http.StatusOK || a.action != "RunInstances" && a.action != "DescribeInstances" {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	_ = r.Body.Close()
	f.mu.Lock()
	if a.action == "RunInstances" {
		for _, m := range reInstance.FindAllSubmatch(body, -1) {
			f.young[string(m[1])] = time.Now()
		}
		if a.token != "" {
			f.tokens[a.token] = request{a.form, body}
		}
	} else if f.lag > 0 {
		body = without(body, func(id string) bool { return time.Since(f.young[id]) < f.lag })
	}
	f.mu.Unlock()
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// without leaves the reservations with an instance to hide out of a list.
func without(body []byte, hide func(id string) bool) []byte {
	var out []byte
	kept, depth, begun := int64(0), 0, int64(0)
	for d := xml.NewDecoder(bytes.NewReader(body)); ; {
		before := d.InputOffset()
		token, err := d.RawToken()
		if err != nil {
			return append(out, body[kept:]...)
		}
		switch token.(type) {
		case xml.StartElement:
			if depth++; depth == 3 { // response, set, item
				begun = before
			}
		case xml.EndElement:
			if depth--; depth != 2 {
				continue
			}
			m := reInstance.FindSubmatch(body[begun:d.InputOffset()])
			if m != nil && hide(string(m[1])) {
				out = append(out, body[kept:begun]...)
				kept = d.InputOffset()
			}
		}
	}
}
