package launcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
)

func (c *Cluster) filter() sshx.Filter {
	return sshx.Filter{Exclude: c.Config.RsyncExclude, Ignore: c.Config.RsyncFilter}
}

// SyncUp copies a local file or directory to the head, or to all nodes. With
// neither from nor to it copies the file mounts again.
func (c *Cluster) SyncUp(ctx context.Context, from, to string, all bool) error {
	head, err := c.theHead(ctx)
	if err != nil {
		return err
	}
	targets := []providers.Instance{head}
	if all {
		_, workers, err := c.live(ctx)
		if err != nil {
			return err
		}
		targets = append(targets, workers...)
	}
	copies := maps.Clone(c.Config.FileMounts)
	if from != "" {
		copies = map[string]string{to: from}
	}
	errs := make([]error, len(targets))
	var wg sync.WaitGroup
	for n, inst := range targets {
		wg.Go(func() { errs[n] = c.upload(ctx, inst, copies) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.say("Copied %d item(s) to %d node(s).", len(copies), len(targets))
	return nil
}

func (c *Cluster) upload(ctx context.Context, inst providers.Instance, copies map[string]string) error {
	host, err := c.connect(ctx, inst)
	if err != nil {
		return err
	}
	defer host.Close()
	for _, remote := range slices.Sorted(maps.Keys(copies)) {
		local := copies[remote]
		info, err := os.Stat(cluster.ExpandHome(local))
		if err != nil {
			return fmt.Errorf("copy %s: %w", local, err)
		}
		to := remote
		if _, mount := c.Config.FileMounts[remote]; !mount || c.Config.FileMounts[remote] != local {
			to, err = target(remote, filepath.ToSlash(local), info.IsDir(), func(p string) (bool, error) { return isDir(ctx, host, p) })
			if err != nil {
				return err
			}
		}
		if err := host.Upload(ctx, cluster.ExpandHome(local), to, c.filter()); err != nil {
			return err
		}
	}
	return nil
}

// target is where a copy goes, as rsync has it: a directory given without a
// final slash goes into the target under its own name, as a file does where
// the target is a directory.
func target(to, from string, dir bool, isDir func(string) (bool, error)) (string, error) {
	if dir {
		if strings.HasSuffix(from, "/") {
			return strings.TrimSuffix(to, "/"), nil
		}
		return path.Join(to, path.Base(from)), nil
	}
	into := strings.HasSuffix(to, "/")
	if !into {
		var err error
		if into, err = isDir(to); err != nil {
			return "", err
		}
	}
	if into {
		return strings.TrimSuffix(to, "/") + "/" + path.Base(from), nil
	}
	return to, nil
}

// isDir asks the host whether the path is a directory there.
func isDir(ctx context.Context, host sshx.Host, p string) (bool, error) {
	word := sshx.Quote(p)
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		word = "~/" + sshx.Quote(rest)
	}
	out, err := sshx.Output(ctx, host, "if [ -d "+word+" ]; then echo yes; fi")
	return out == "yes", err
}

// SyncDown copies a file or directory of the head here.
func (c *Cluster) SyncDown(ctx context.Context, from, to string) error {
	_, host, err := c.head(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	dir, err := isDir(ctx, host, from)
	if err != nil {
		return err
	}
	to, err = target(cluster.ExpandHome(to), from, dir, func(p string) (bool, error) {
		info, err := os.Stat(p)
		return err == nil && info.IsDir(), nil
	})
	if err != nil {
		return err
	}
	return host.Download(ctx, from, to, c.filter())
}
