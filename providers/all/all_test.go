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
