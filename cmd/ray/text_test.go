package main

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	var b bytes.Buffer
	table(&b, []string{"NAME", "PID", "RESOURCES"}, [][]string{
		{"first", "7", "CPU: 2\nGPU: 1"},
		{"second", "1234", ""},
	})
	want := strings.Join([]string{
		"   NAME     PID  RESOURCES",
		"0  first      7  CPU: 2",
		"                 GPU: 1",
		"1  second  1234",
		"",
	}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestYAML(t *testing.T) {
	var b bytes.Buffer
	err := printYAML(&b, []map[string]any{{
		"name": "yes", "state": "ALIVE", "pid": 12, "cause": nil, "labels": map[string]any{"zone": "a: b"}, "list": []any{},
		"items": []any{"x", map[string]any{"k": "v"}},
	}}, []string{"state", "name"})
	if err != nil {
		t.Fatal(err)
	}
	want := `---
-   state: ALIVE
    name: "yes"
    cause: null
    items:
    -   x
    -   k: v
    labels:
        zone: "a: b"
    list: []
    pid: 12
...

`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("YAML (-want +got):\n%s", diff)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"start", "stop", "status", "submit"}
	for text, want := range map[string]string{"statsu": "status", "strat": "start", "sotp": "stop", "zzzzz": "", "submi": "submit"} {
		if got := nearest(text, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]float64{"100": 100, "2k": 2048, "1.5M": 1.5 * (1 << 20), "3GiB": 3 << 30, "4gb": 4 << 30, "1e9": 1e9} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("parseBytes(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "much", "1t"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("parseBytes(%q) = %v, want an error", text, got)
		}
	}
}

func TestLabels(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"a=b":                {"a": "b"},
		"a=b, c=d=e,":        {"a": "b", "c": "d=e"},
		`{"a": "b"}`:         {"a": "b"},
		"ray.io/zone=eu-1/a": {"ray.io/zone": "eu-1/a"},
	} {
		var got map[string]string
		if err := (labelFlag{&got}).Set(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestJoinEntrypoint(t *testing.T) {
	for want, args := range map[string][]string{
		"python a.py --x 1":      {"python", "a.py", "--x", "1"},
		"echo hi; exit 3":        {"echo hi; exit 3"},
		`python -c 'print(1)'`:   {"python", "-c", "print(1)"},
		`echo 'it'"'"'s' '' a=b`: {"echo", "it's", "", "a=b"},
	} {
		if got := joinEntrypoint(args); got != want {
			t.Errorf("joinEntrypoint(%q) = %s, want %s", args, got, want)
		}
	}
}

func TestJoinAddress(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.1": "10.0.0.1:6379", "h:1": "h:1", "ray://h:10001": "h:10001", "[::1]:6379": "[::1]:6379"} {
		if got, err := joinAddress(text); err != nil || got != want {
			t.Errorf("joinAddress(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{":1", "h:0", "h:99999", "h:x"} {
		if got, err := joinAddress(text); err == nil {
			t.Errorf("joinAddress(%q) = %q, want an error", text, got)
		}
	}
}

func TestPackDir(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"main.py": "1", "data/a.txt": "2", "data/b.log": "3", ".git/HEAD": "4", "__pycache__/x.pyc": "5",
		"data/keep.log": "6", "secret.txt": "7", ".gitignore": "*.log\n!keep.log\n/data/sub/\n", "data/sub/x": "8", "lib/venv/y": "9",
		"data/.gitignore": "local\n", "data/local": "10", "local": "11",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	name, content, err := packDir(dir, []string{"secret.*"}, false)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range archive.File {
		got = append(got, f.Name)
	}
	slices.Sort(got)
	want := []string{".gitignore", "data/.gitignore", "data/a.txt", "data/keep.log", "local", "main.py"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packed (-want +got):\n%s", diff)
	}
	again, _, err := packDir(dir, []string{"secret.*"}, false)
	if err != nil || again != name {
		t.Errorf("the same content is %s, then %s (%v)", name, again, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.py"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed, _, _ := packDir(dir, []string{"secret.*"}, false); changed == name {
		t.Error("other content has the same name")
	}
}
