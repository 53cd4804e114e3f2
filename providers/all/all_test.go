package all

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/cluster"
	"ray/providers"
)

// TestForms reads a file of every form: each is right, whether or not its
// provider is there yet.
func TestForms(t *testing.T) {
	files, err := filepath.Glob("../../internal/cluster/testdata/resolved/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		cfg, err := cluster.Load(file)
		if err == nil {
			err = Check(cfg)
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		_, err = New(cfg, Options{StateDir: t.TempDir(), Ray: "ray"})
		var refused *providers.Error
		switch cfg.Provider.Type {
		case "azure", "vsphere", "spark", "readonly":
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), "not supported yet: provider "+cfg.Provider.Type+"; process (") {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// A wish that is not fulfilled is refused, not passed over.
func TestNodesThatAreNotSetUp(t *testing.T) {
	cfg, err := cluster.Parse("x.yaml", []byte("cluster_name: a\nprovider: {type: process, disable_node_updaters: true}\nhead_node_type: h\navailable_node_types: {h: {resources: {CPU: 1}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg, Options{StateDir: t.TempDir(), Ray: "ray"}); err == nil || !strings.Contains(err.Error(), "not supported yet: provider.disable_node_updaters") {
		t.Error(err)
	}
}
