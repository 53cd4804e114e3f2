package launcher

import (
	"context"
	"errors"
	"strings"
	"testing"

	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/all"
)

// finding is a provider that finds what it is told.
type finding struct {
	providers.Provider
	found []providers.Found
	err   error
}

func (f finding) Find(context.Context) ([]providers.Found, error) { return f.found, f.err }

func TestSearch(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("GOOGLE_CLOUD_PROJECT", "")
	machine := func(id, name, region, kind string) providers.Found {
		return providers.Found{
			Instance: providers.Instance{ID: id, Kind: kind}, Cluster: name, Region: region, Machine: "m5.large",
		}
	}
	f := finding{
		found: []providers.Found{
			machine("i-2", "lost", "us-west-2", providers.Worker), machine("i-1", "lost", "us-west-2", providers.Worker),
			machine("i-3", "fine", "us-east-1", providers.Head), machine("i-4", "fine", "us-east-1", providers.Worker),
			machine("i-5", "lost", "eu-west-1", providers.Head),
		},
		err: errors.New("mars-1: no answer"),
	}
	asked := 0
	l := &Launcher{Root: t.TempDir(), NewProvider: func(*cluster.Config, all.Options) (providers.Provider, error) {
		asked++
		return f, nil
	}}
	got, err := l.Search(t.Context())
	if err == nil || !strings.Contains(err.Error(), "mars-1") || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	if s := got[0]; s.Name != "fine" || !s.Head || s.Orphan || s.Workers != 1 || s.Cost < 0.19 || s.Cost > 0.2 || s.Known {
		t.Errorf("%+v", s)
	}
	if s := got[2]; s.Region != "us-west-2" || !s.Orphan || s.Workers != 2 || strings.Join(s.Instances, " ") != "i-1 i-2" {
		t.Errorf("%+v", s)
	}
	if got[1].Orphan {
		t.Errorf("another region's cluster of the name: %+v", got[1])
	}
}
