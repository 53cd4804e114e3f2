package cluster

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestResolvesAsUpstream compares resolved files with what upstream 2.60 makes
// of them; testdata/resolved/README.md says how that was found.
func TestResolvesAsUpstream(t *testing.T) {
	files, err := filepath.Glob("testdata/resolved/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cfg, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".json")
			if err != nil {
				t.Fatal(err)
			}
			want, got := numbers(t, data), numbers(t, []byte(pyJSON(cfg.Document())))
			for _, key := range slices.Sorted(maps.Keys(want)) {
				if !reflect.DeepEqual(got[key], want[key]) {
					t.Errorf("%s\n is %v\nwant %v", key, got[key], want[key])
				}
			}
			for key := range got {
				if _, ok := want[key]; !ok {
					t.Errorf("%s is not in upstream's", key)
				}
			}
		})
	}
}

// numbers reads JSON with its numbers as they are written.
func numbers(t *testing.T, data []byte) map[string]any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestHashesAsUpstream compares hashes with those of upstream 2.60.
func TestHashesAsUpstream(t *testing.T) {
	t.Chdir("testdata/resolved") // paths of mounts are part of the hash
	files, err := filepath.Glob("*.hash.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			cfg, err := Load(strings.TrimSuffix(file, ".hash.json") + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := numbers(t, data)
			mounts, all, err := cfg.ContentsHashes()
			if err != nil {
				t.Fatal(err)
			}
			launch := map[string]any{}
			for _, name := range cfg.TypeNames() {
				if launch[name], err = cfg.LaunchHash(name); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]any{
				"contents": all, "launch": launch,
				"runtime": cfg.RuntimeHash(true, cfg.HeadType, mounts), "workers": cfg.RuntimeHash(false, "no override", mounts),
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// TestReadAgain reads what the head gets: nothing is derived twice, and the
// same commands are run and the same hashes come out.
func TestReadAgain(t *testing.T) {
	files, err := filepath.Glob("testdata/resolved/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		cfg, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(file, cfg.Marshal())
		if err != nil {
			t.Error(err)
			continue
		}
		if a, b := string(cfg.Marshal()), string(again.Marshal()); a != b {
			t.Errorf("%s\nfirst  %s\nsecond %s", file, a, b)
		}
		if !slices.Equal(cfg.WorkerSetup, again.WorkerSetup) || !slices.Equal(cfg.HeadSetup, again.Since(cfg).HeadSetup) {
			t.Errorf("%s: other commands: %q %q, then %q %q", file, cfg.HeadSetup, cfg.WorkerSetup, again.HeadSetup, again.WorkerSetup)
		}
		if cfg.RuntimeHash(true, cfg.HeadType, "") != again.RuntimeHash(true, cfg.HeadType, "") {
			t.Errorf("%s: another hash", file)
		}
	}
}

// TestDefaultsInstallNothing: set-up commands that the file does not give are
// part of the document and not run.
func TestDefaultsInstallNothing(t *testing.T) {
	boto := "pip install 'boto3>=1.4.8'"
	for text, want := range map[string][]string{
		"":                              nil,
		"setup_commands: [echo a]":      {"echo a"},
		"head_setup_commands: [echo h]": {"echo h"},
		"setup_commands: []":            nil,
		"head_setup_commands: [\"" + boto + "\"]": {boto},
	} {
		cfg, err := Parse("x.yaml", []byte("cluster_name: x\nprovider: {type: aws}\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(cfg.HeadSetup, want) {
			t.Errorf("%s runs %q, want %q", text, cfg.HeadSetup, want)
		}
	}
}
