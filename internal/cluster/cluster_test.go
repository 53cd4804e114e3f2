package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ray/internal/spec"
)

const good = `
cluster_name: demo
max_workers: 6
idle_timeout_minutes: 0.5
provider: {type: process}
setup_commands: [echo all]
head_setup_commands: [echo head]
available_node_types:
  head: {resources: {CPU: 2}}
  cpu:
    resources: {CPU: 4, odd: 0.5}
    labels: {zone: here}
    max_workers: 4
    idle_timeout_s: 3
head_node_type: head
`

func TestParse(t *testing.T) {
	c, err := Parse("x.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "demo" || c.MaxWorkers != 6 || c.IdleTimeout != 30*time.Second || c.Provider.Type != "process" {
		t.Errorf("top level: %+v", c)
	}
	if got := strings.Join(c.HeadSetup, ","); got != "echo all,echo head" {
		t.Errorf("head set-up is %q", got)
	}
	cpu := c.NodeTypes["cpu"]
	if cpu.Resources["odd"] != spec.ToFixed(0.5) || cpu.Max != 4 || cpu.Min != 0 || cpu.IdleTimeout != 3*time.Second {
		t.Errorf("cpu: %+v", cpu)
	}
	if head := c.NodeTypes["head"]; head.Max != 0 || head.IdleTimeout != 30*time.Second {
		t.Errorf("head: %+v", head)
	}
}

// What the head reads back is the same cluster.
func TestMarshalRoundTrip(t *testing.T) {
	c, err := Parse("x.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	c = c.With(map[string]any{"state_dir": "/s"})
	again, err := Parse("boot.yaml", c.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if again.Provider.Text("state_dir") != "/s" || again.NodeTypes["cpu"].Max != 4 {
		t.Errorf("lost something: %s", again.Marshal())
	}
	if len(again.HeadSetup) != 2 {
		t.Errorf("set-up commands pile up: %q", again.HeadSetup)
	}
}

func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test files", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(f), data)
			var ps Problems
			if !errors.As(err, &ps) {
				t.Fatalf("want Problems, got %v", err)
			}
			golden := strings.TrimSuffix(f, ".yaml") + ".txt"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			wantText, rerr := os.ReadFile(golden)
			if rerr != nil {
				t.Fatal(rerr)
			}
			if err.Error()+"\n" != string(wantText) {
				t.Errorf("got\n%s\nwant\n%s", err, wantText)
			}
		})
	}
}

func TestPlainScalars(t *testing.T) {
	for in, out := range map[string]string{
		"yes": "true", "Off": "false", "0x1F": "31", "017": "15", "0b101": "5", "1:30": "90", "1_000": "1000",
		"1e3": `"1e3"`, "1.0e+3": "1000.0", ".5": "0.5", "-1.5": "-1.5", "~": "null", "": "null", "089": `"089"`,
		"0o17": `"0o17"`, "190:20:30.15": "685230.15", "y": `"y"`, "2001-01-01": `"2001-01-01"`, "+12": "12",
		"1.5e+300": "1.5e+300", "123456789012345678901": "123456789012345678901", "ä": `"\u00e4"`, "😀": `"\ud83d\ude00"`,
	} {
		if got := pyJSON(plain(in)); got != out {
			t.Errorf("%q reads as %s, want %s", in, got, out)
		}
	}
}

func TestLaunchHash(t *testing.T) {
	c, err := Parse("x.yaml", []byte(`
cluster_name: demo
provider: {type: aws, region: us-west-2}
auth: {ssh_user: ubuntu}
available_node_types: {h: {resources: {}, node_config: {InstanceType: m5.large}}}
head_node_type: h
`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.LaunchHash("h")
	if want := "v3665bgbtd46hgo35ja53o3u3nnc0p3ml669d57r3knnqjr457j0"; err != nil || got != want {
		t.Errorf("launch hash is %s (%v), want %s", got, err, want)
	}
}

// The hashes of these values were taken from another implementation: machines
// that it tagged must be recognised.
func TestRuntimeHash(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"fm/a": "A", "fm/sub/b": "B", "fm/z": "Z"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Parse("x.yaml", []byte(`
cluster_name: demo
provider: {type: aws}
setup_commands: [a]
worker_start_ray_commands: [y]
available_node_types:
  h: {resources: {}, node_config: {InstanceType: m5.large, ff: 1.5e+10, n: 0x10, s: 1:30}}
  w: {resources: {}, node_config: {}, worker_setup_commands: [z]}
head_node_type: h
`))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %s, want %s", what, got, want)
		}
	}
	contents, _, err := c.ContentsHashes()
	if err != nil {
		t.Fatal(err)
	}
	check("hash without mounts", c.RuntimeHash(false, "w", contents), "phb63joc4bp8ugu59ut0f5qjo8h0hm3g2unlhpr2iekoq1hpibu0")
	c = c.WithFileMounts(map[string]string{"/r": "fm", "/q": "fm/a"})
	if contents, _, err = c.ContentsHashes(); err != nil {
		t.Fatal(err)
	}
	check("contents hash", contents, "n90eejacgbp5visnbip3227ss2ca434k1onbl66b06s31batspqg")
	check("hash with mounts", c.RuntimeHash(false, "w", contents), "539v3cjvvu9bp9vpit24hqp6g7bc259vhsgigag8a7itagi1iso0")
	launch, err := c.LaunchHash("h")
	if err != nil {
		t.Fatal(err)
	}
	// auth is the default here: {ssh_user: ubuntu}.
	check("launch hash", launch, "8bnid4ds80vgjvnb1658uicu9r44gjuvt3n88gql3fqa0j4jtse0")
}

func TestNearest(t *testing.T) {
	for in, out := range map[string]string{"proces": "process", "asw": "aws", "locall": "local", "gpc": "gcp", "zzzzzz": ""} {
		if got, _ := Nearest(in, ProviderTypes()); got != out {
			t.Errorf("nearest to %q is %q, want %q", in, got, out)
		}
	}
}

// Files made to exhaust memory end in an error, soon.
func TestBombs(t *testing.T) {
	laughs, merges := "a0: &a0 [x]\n", "m0: &m0 {k: v}\n"
	for i := 1; i < 60; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
		merges += fmt.Sprintf("m%d: &m%d {<<: [*m%d, *m%d]}\n", i, i, i-1, i-1)
	}
	for name, text := range map[string]string{
		"laughs": laughs, "merges": merges, "self": "a: &a [*a]", "self merge": "a: &a {<<: *a}", "deep": strings.Repeat("[", 20000),
	} {
		begun := time.Now()
		if _, err := Parse(name, []byte(text)); err == nil || time.Since(begun) > 10*time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(begun))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("<<: {<<: 1}"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if c, err := Parse("f.yaml", data); err == nil {
			_ = c.Marshal()
		}
	})
}

// A file of 50 MB is no cluster file: it is refused by its size, not read.
func TestHugeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 50<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "has 52428800 bytes; at most 10485760 are read") {
		t.Error(err)
	}
}
