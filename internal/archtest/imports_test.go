package archtest

import (
	"strconv"
	"strings"
	"testing"
)

const module = "ray"

// layers orders the packages: one may import only packages of lower layers
// and those below its own directory. So packages of one layer, such as
// autoscaler, gcs and node, never import each other.
var layers = map[string]int{
	"internal/spec": 0, "internal/logfile": 0,

	"internal/session": 1, "internal/cluster": 1, "internal/scheduler": 1, "internal/wire": 1,
	"internal/objectstore": 1, "internal/sshx": 1, "internal/statustext": 1, "python": 1,
	"internal/autoscalerpb": 1,

	"providers": 2,

	"autoscaler": 3, "internal/gcs": 3, "internal/bootstrap": 3, "node": 3,

	"internal/launcher": 4, "internal/jobs": 4, "internal/dashboard": 4, "internal/tui": 4,

	"internal/head": 5,

	"internal/simtest": 6, "internal/testbed": 6, "cmd/ray": 6, "bench": 7, "internal/archtest": 6,
}

// confined packages may be imported only below the given directories.
var confined = []struct {
	path string
	only []string
}{
	{"golang.org/x/crypto/ssh", []string{"internal/sshx", "internal/testbed"}},
	{"github.com/charmbracelet", []string{"internal/tui"}},
	{"gopkg.in/yaml.v3", []string{"internal/cluster"}},
	{"github.com/spf13", []string{"cmd/ray"}},
	{"go.etcd.io/bbolt", []string{"internal/gcs"}},
	{module + "/python", []string{"cmd/ray"}},
}

// sdks are the cloud providers' own: each stays in the package of its provider.
var sdks = []string{"github.com/aws", "cloud.google.com", "google.golang.org/api", "github.com/Azure", "github.com/digitalocean", "github.com/hetznercloud"}

// layerOf finds the entry of layers that a directory belongs to.
func layerOf(dir string) (top string, layer int, ok bool) {
	for top, layer := range layers {
		if within(dir, top) {
			return top, layer, true
		}
	}
	return "", 0, false
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range sources(t) {
		top, layer, ok := layerOf(s.dir)
		if !ok {
			t.Errorf("%s: its directory has no layer: add it to the table in imports_test.go", s.name)
			continue
		}
		for _, spec := range s.file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			checkConfined(t, s, name)
			dir, ours := strings.CutPrefix(name, module+"/")
			if !ours || s.test {
				continue // tests may bring in what they drive
			}
			otherTop, other, ok := layerOf(dir)
			if ok && otherTop != top && other >= layer {
				t.Errorf("%s imports %s: %s (layer %d) may not import %s (layer %d)", s.name, name, top, layer, otherTop, other)
			}
		}
	}
}

func checkConfined(t *testing.T, s source, name string) {
	t.Helper()
	for _, c := range confined {
		if !within(name, c.path) {
			continue
		}
		allowed := s.test && strings.HasPrefix(c.path, "golang.org/x/crypto")
		for _, only := range c.only {
			allowed = allowed || within(s.dir, only)
		}
		if !allowed {
			t.Errorf("%s imports %s, which belongs to %s alone", s.name, name, strings.Join(c.only, ", "))
		}
	}
	for _, sdk := range sdks {
		if !within(name, sdk) {
			continue
		}
		if depth := strings.Count(s.dir, "/"); !(within(s.dir, "providers") && depth >= 1) && !(within(s.dir, "internal/objectstore") && depth >= 2) {
			t.Errorf("%s imports %s: a cloud's SDK belongs below providers/<cloud> or internal/objectstore/<cloud>", s.name, name)
		}
	}
}

func TestVocabularyNeedsOnlyTheStandardLibrary(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !within(s.dir, "internal/spec") && !within(s.dir, "internal/session") {
			continue
		}
		for _, spec := range s.file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			first, _, _ := strings.Cut(name, "/")
			if strings.Contains(first, ".") || first == module {
				t.Errorf("%s imports %s", s.name, name)
			}
		}
	}
}
