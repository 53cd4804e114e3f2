package providertest

import (
	"testing"

	"ray/internal/cluster"
)

// Parse reads a cluster file that must be right.
func Parse(t *testing.T, text string) *cluster.Config {
	t.Helper()
	cfg, err := cluster.Parse("demo.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
