package launcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"

	"ray/internal/cluster"
	"ray/providers"
)

// bootstrapKey is where the head has the cluster's private key.
const bootstrapKey = "~/ray_bootstrap_key.pem"

// fileHash tells two cluster files apart.
func fileHash(cfg *cluster.Config) string {
	sum := sha256.Sum256(cfg.Marshal())
	return hex.EncodeToString(sum[:])
}

// preparer gives the provider's part that fills in the file, if it has one.
func (c *Cluster) preparer() (providers.Preparer, bool) {
	prep, ok := c.plain().(providers.Preparer)
	return prep, ok
}

// known is the file with what an earlier run had the provider fill in: all of
// it if the file is the same, the key by which machines are reached if not.
func (c *Cluster) known() *cluster.Config {
	if c.Record.FileHash == "" || c.FromState {
		return c.file
	}
	kept, err := cluster.Load(c.dir.path("cluster.yaml"))
	switch {
	case err != nil:
		return c.file
	case c.Record.FileHash == fileHash(c.file):
		return kept.Named(c.file.Source).Since(c.file)
	case c.file.Auth.PrivateKey != "" || kept.Auth.PrivateKey == "":
		return c.file
	}
	return c.file.Edit(func(doc map[string]any) {
		auth, _ := doc["auth"].(map[string]any)
		if auth == nil {
			auth = map[string]any{}
			doc["auth"] = auth
		}
		auth["ssh_private_key"] = kept.Auth.PrivateKey
	})
}

// provide has the provider fill in what the file leaves open. It asks nobody
// where a head runs that was made from the same file.
func (u *up) provide(ctx context.Context) error {
	hash := fileHash(u.file)
	if _, ok := u.preparer(); !ok || u.head != nil && (u.Record.FileHash == hash || u.FromState) {
		return nil
	}
	if err := u.adopt(u.file); err != nil { // not what an earlier run filled in
		return err
	}
	p, _ := u.preparer()
	j := journaled{u.Provider, u.dir.path("journal.jsonl")}
	e := Entry{Call: newToken(), Phase: "intent", Op: "prepare"}
	if err := j.write(e); err != nil {
		return err
	}
	cfg, err := p.Prepare(ctx)
	e.Phase = "outcome"
	if err := j.outcome(e, err); err != nil {
		return err
	}
	if err := u.dir.keep(cfg); err != nil {
		return err
	}
	// As the next run will read it, so that the same hash comes out.
	if cfg, err = cluster.Load(u.dir.path("cluster.yaml")); err != nil {
		return err
	}
	if err := u.adopt(cfg.Named(u.file.Source).Since(u.file)); err != nil {
		return err
	}
	u.Record.FileHash = hash
	return u.dir.remember(u.Record)
}

// cleanup removes what the provider made besides machines.
func (c *Cluster) cleanup(ctx context.Context, o DownOptions) error {
	p, ok := c.preparer()
	if !ok {
		return nil
	}
	if !o.AllResources {
		c.say("Kept for the next `ray up`: what the cluster has besides machines (keys, groups, roles). `ray down --all-resources` removes it too.")
		return nil
	}
	gone, err := p.Cleanup(ctx)
	for _, what := range gone {
		c.say("Removed the %s.", what)
	}
	return err
}

// keyFile is the private key for the head, by which it reaches its workers.
func (c *Cluster) keyFile() ([]byte, error) {
	path := c.Config.Auth.PrivateKey
	t := c.Provider.Traits()
	if path == "" || t.Manual || t.SharedMachine {
		return nil, nil
	}
	data, err := os.ReadFile(cluster.ExpandHome(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // on another machine than the one that made the head
	}
	return data, err
}
