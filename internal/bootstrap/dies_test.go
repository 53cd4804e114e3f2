package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/sshx"
	"ray/providers"
)

// dying is a host that is lost once dead is set: whatever is asked of it fails.
type dying struct {
	*sshx.Fake
	dead  bool
	after int // how often it was asked once it was dead
}

func (d *dying) lost() error {
	if !d.dead {
		return nil
	}
	d.after++
	return &sshx.ConnError{Host: d.Name, Reason: sshx.Lost}
}

func (d *dying) Run(ctx context.Context, c sshx.Command) error {
	return cmp.Or(d.lost(), d.Fake.Run(ctx, c))
}

func (d *dying) Upload(ctx context.Context, local, remote string, f sshx.Filter) error {
	return cmp.Or(d.lost(), d.Fake.Upload(ctx, local, remote, f))
}

func (d *dying) WriteFile(ctx context.Context, remote string, data []byte, mode fs.FileMode) error {
	return cmp.Or(d.lost(), d.Fake.WriteFile(ctx, remote, data, mode))
}

func (d *dying) ReadFile(ctx context.Context, remote string) ([]byte, error) {
	if err := d.lost(); err != nil {
		return nil, err
	}
	return d.Fake.ReadFile(ctx, remote)
}

// A host that dies in any phase ends the set-up in that phase, which is named,
// and the next try goes through from there.
func TestHostDiesInEachPhase(t *testing.T) {
	mounted := t.TempDir()
	if err := os.WriteFile(filepath.Join(mounted, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := node(t, machine(t), providers.Head, "head")
	for i, step := range Steps(&first) {
		t.Run(step.Title, func(t *testing.T) {
			h := &dying{Fake: machine(t)}
			n := node(t, h, providers.Head, "head")
			n.Config = n.Config.Edit(func(doc map[string]any) { doc["file_mounts"] = map[string]any{"~/mounted": mounted} })
			if step.Title == stepAwait {
				n.Wait = 1 // a host that is lost while it boots may come back; the caller says how long that may take
			}
			err := Start(t.Context(), n, func(e Event) { h.dead = h.dead || e.Phase == Begun && e.Number == i+1 })
			var failed *StepError
			if !errors.As(err, &failed) || failed.Step != step.Title || !strings.Contains(err.Error(), h.Name) {
				t.Fatalf("lost in step %d, %q: %v", i+1, step.Title, err)
			}
			if h.after == 0 || h.after > 3 {
				t.Errorf("the dead host was asked %d times", h.after)
			}
			h.dead = false
			if err := Start(t.Context(), n, nil); err != nil {
				t.Errorf("the next try: %v", err)
			}
			if got := commands(h.Fake); got[len(got)-1] != "ray start --head" {
				t.Errorf("ran %q", got)
			}
		})
	}
}
