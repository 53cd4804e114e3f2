package cluster

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hashText is how a digest is written: base32hex, lower case, no padding, so
// that it fits a label of any cloud.
func hashText(sum []byte) string {
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum))
}

// LaunchHash tells machines apart that were launched from different
// descriptions: it covers the node type's node_config and the auth section,
// with the contents of key files in place of their names.
func (c *Config) LaunchHash(nodeType string) (string, error) {
	t, ok := c.NodeTypes[nodeType]
	if !ok {
		return "", fmt.Errorf("launch hash: no node type %q in %s", nodeType, c.Source)
	}
	auth := map[string]any{}
	for k, v := range sub(c.doc, "auth") {
		auth[k] = v
		if k != "ssh_private_key" && k != "ssh_public_key" {
			continue
		}
		data, err := os.ReadFile(ExpandHome(str(v)))
		if err != nil {
			return "", fmt.Errorf("launch hash: auth.%s: %w", k, err)
		}
		auth[k] = string(data)
	}
	sum := sha256.Sum256([]byte(pyJSON([]any{t.NodeConfig, auth})))
	return hashText(sum[:]), nil
}

// RuntimeHash tells whether a machine's files and set-up are still what the
// file asks for. extra is the whole document for a head, the set-up and start
// commands for a worker; contents is ContentsHash of the mounts.
func (c *Config) RuntimeHash(head bool, nodeType, contents string) string {
	var extra any = c.doc
	if !head {
		extra = []any{anyList(c.NodeTypes[nodeType].WorkerSetup), anyList(c.WorkerStart)}
	}
	h := sha256.New()
	_, _ = io.WriteString(h, pyJSON(c.FileMounts)+pyJSON(extra)+contents)
	return hashText(h.Sum(nil))
}

// anyList keeps an absent list distinct from nothing in JSON: it is [].
func anyList(l []string) []any {
	out := make([]any, 0, len(l))
	for _, s := range l {
		out = append(out, s)
	}
	return out
}

// ContentsHash digests the names and bytes of everything that is mounted.
func (c *Config) ContentsHash() (string, error) {
	h := sha256.New()
	var locals []string
	for _, local := range c.FileMounts {
		locals = append(locals, ExpandHome(local))
	}
	slices.Sort(locals)
	for _, local := range locals {
		if err := addContents(h, local); err != nil {
			return "", fmt.Errorf("file_mounts: %w", err)
		}
	}
	for _, local := range c.SyncedFiles {
		local = ExpandHome(local)
		if _, err := os.Stat(local); err == nil {
			if err := addContents(h, local); err != nil {
				return "", fmt.Errorf("cluster_synced_files: %w", err)
			}
		}
	}
	return hashText(h.Sum(nil)), nil
}

// addContents digests the bytes of a file, or the names and bytes of all files
// below a directory, directory by directory in the order of their paths.
func addContents(h io.Writer, root string) error {
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return addFile(h, root)
	}
	files := map[string][]string{}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			files[p] = nil
		default:
			files[filepath.Dir(p)] = append(files[filepath.Dir(p)], d.Name())
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Sorted(maps.Keys(files)) {
		_, _ = io.WriteString(h, dir)
		slices.Sort(files[dir])
		for _, name := range files[dir] {
			_, _ = io.WriteString(h, name)
			if err := addFile(h, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addFile digests a file's bytes. Sockets and the like have none, and a link
// counts as what it leads to, if that is a file.
func addFile(h io.Writer, path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		if os.IsNotExist(err) {
			return nil // a dangling link
		}
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(h, f)
	return err
}

// ExpandHome replaces a leading ~ by the user's home directory.
func ExpandHome(path string) string {
	if path != "~" && !strings.HasPrefix(path, "~/") {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	return filepath.Join(home, path[1:])
}
