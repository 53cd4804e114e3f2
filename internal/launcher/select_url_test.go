package launcher

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A cluster file may be read from where it is published, or from what is piped in.
func TestAClusterFileFromElsewhere(t *testing.T) {
	const text = `
cluster_name: from-afar
provider: {type: process}
available_node_types: {head: {resources: {CPU: 1}, node_config: {}}}
head_node_type: head
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cluster.yaml":
			_, _ = w.Write([]byte(text))
		case "/bad.yaml":
			_, _ = w.Write([]byte(strings.Replace(text, "head_node_type", "head_node_typ", 1)))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	l := &Launcher{In: strings.NewReader(text)}
	for _, name := range []string{server.URL + "/cluster.yaml", "-"} {
		if cfg, err := l.Read(t.Context(), Source{File: name}); err != nil || cfg.Name != "from-afar" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		server.URL + "/bad.yaml":     server.URL + "/bad.yaml:5:1",
		server.URL + "/none.yaml":    "404 Not Found",
		"http://127.0.0.1:1/c.yaml":  "connection refused",
		"ftp://127.0.0.1:1/far.yaml": "unsupported protocol scheme",
	} {
		if _, err := l.Read(t.Context(), Source{File: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
