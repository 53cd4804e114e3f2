package cluster

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
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
// commands for a worker; contents is that of the mounts, by ContentsHashes.
func (c *Config) RuntimeHash(head bool, nodeType, contents string) string {
	whole := maps.Clone(c.doc)
	delete(whole, "no_restart") // of this run, not of the file
	var extra any = whole
	if !head {
		setup := c.doc["worker_setup_commands"]
		if own := sub(sub(c.doc, "available_node_types"), nodeType)["worker_setup_commands"]; own != nil {
			setup = own
		}
		extra = []any{setup, c.doc["worker_start_ray_commands"]}
	}
	h := sha256.New()
	_, _ = io.WriteString(h, pyJSON(c.FileMounts)+pyJSON(extra)+contents)
	return hashText(h.Sum(nil))
}

// ofWorkers are the fields of the file that concern the workers and their number
// alone; a head takes them over while it runs.
var ofWorkers = []string{
	"no_restart", "max_workers", "min_workers", "upscaling_speed", "idle_timeout_minutes", "max_cost_per_hour", "max_disrupted_workers", "auto_stop", "consolidate",
	"worker_setup_commands", "worker_start_ray_commands", "available_node_types",
}

// ofTheirType are the like of a node type.
var ofTheirType = []string{
	"min_workers", "max_workers", "idle_timeout_s", "price_per_hour", "priority", "worker_setup_commands",
}

// HeadHash tells whether a head must be set up again and restarted: it covers
// what RuntimeHash does for a head, without what concerns the workers alone.
func (c *Config) HeadHash(contents string) string {
	doc := maps.Clone(c.doc)
	for _, key := range ofWorkers {
		delete(doc, key)
	}
	own := maps.Clone(sub(sub(c.doc, "available_node_types"), c.HeadType))
	for _, key := range ofTheirType {
		delete(own, key)
	}
	doc["available_node_types"] = map[string]any{c.HeadType: own}
	h := sha256.New()
	_, _ = io.WriteString(h, "head"+pyJSON(c.FileMounts)+pyJSON(doc)+contents)
	return hashText(h.Sum(nil))
}

// ContentsHashes digest the names and bytes of everything that is mounted:
// mounts of the file_mounts alone, which is what RuntimeHash takes, and all of
// the cluster_synced_files too, those that exist.
func (c *Config) ContentsHashes() (mounts, all string, err error) {
	h := sha256.New()
	for _, local := range slices.Sorted(maps.Values(c.FileMounts)) {
		if err := addContents(h, ExpandHome(local)); err != nil {
			return "", "", fmt.Errorf("file_mounts: %w", err)
		}
	}
	mounts = hashText(h.Sum(nil))
	for _, local := range slices.Sorted(slices.Values(c.SyncedFiles)) {
		local = ExpandHome(local)
		if _, err := os.Stat(local); err == nil {
			if err := addContents(h, local); err != nil {
				return "", "", fmt.Errorf("cluster_synced_files: %w", err)
			}
		}
	}
	return mounts, hashText(h.Sum(nil)), nil
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
	if err := listTree(root, files); err != nil {
		return err
	}
	for _, dir := range slices.Sorted(maps.Keys(files)) {
		_, _ = io.WriteString(h, dir)
		for _, name := range files[dir] {
			_, _ = io.WriteString(h, name)
			if err := addFile(h, below(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// listTree notes the files of each directory, sorted. Directories are called
// as the path was given, a leading ./ or a final slash included, since their
// names are digested; links to directories are left out.
func listTree(dir string, files map[string][]string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	files[dir] = nil
	for _, e := range entries {
		path := below(dir, e.Name())
		if e.IsDir() {
			if err := listTree(path, files); err != nil {
				return err
			}
			continue
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		files[dir] = append(files[dir], e.Name())
	}
	return nil
}

// below joins as Python's os.path.join does: nothing is cleaned.
func below(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

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
