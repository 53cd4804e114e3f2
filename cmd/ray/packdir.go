package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxPackage is the largest working directory that the job API takes.
const maxPackage = 512 << 20

// packDir makes a zip archive of a directory and names it by its content.
// .gitignore and .rayignore files in it, and the patterns given, leave files
// out, and so do a few directories that nobody wants to send.
func packDir(dir string, excludes []string) (name string, content []byte, err error) {
	var b bytes.Buffer
	p := &packer{dir: dir, archive: zip.NewWriter(&b), size: b.Len, hash: sha256.New()}
	always := append([]string{"/.git/", ".venv/", "venv/", "__pycache__/"}, excludes...)
	p.rules = map[string][]ignoreRule{".": append(ignoreRules(always, ""), readIgnores(dir, "")...)}
	if err = filepath.WalkDir(dir, p.visit); err == nil {
		err = p.archive.Close()
	}
	if err != nil {
		return "", nil, fmt.Errorf("pack the working directory %s: %w", dir, err)
	}
	return "_ray_pkg_" + hex.EncodeToString(p.hash.Sum(nil))[:16] + ".zip", b.Bytes(), nil
}

// packer is one run of packDir.
type packer struct {
	dir     string
	archive *zip.Writer
	size    func() int
	hash    hash.Hash
	rules   map[string][]ignoreRule // of each directory, with those above it
}

func (p *packer) visit(file string, entry fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(p.dir, file)
	if rel = filepath.ToSlash(rel); err != nil || rel == "." {
		return err
	}
	above := p.rules[path.Dir(rel)]
	switch skip := ignored(above, rel, entry.IsDir()); {
	case skip && entry.IsDir():
		return fs.SkipDir
	case skip:
		return nil
	case entry.IsDir():
		p.rules[rel] = append(above[:len(above):len(above)], readIgnores(file, rel)...)
		return nil
	}
	return p.add(file, rel)
}

func (p *packer) add(file, rel string) error {
	info, err := os.Stat(file) // follow links: the archive has none
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.hash, "%s %o %d\n", rel, info.Mode().Perm(), len(text))
	_, _ = p.hash.Write(text)
	if err := addFile(p.archive, rel, info, text); err != nil {
		return err
	}
	if p.size() > maxPackage {
		return fmt.Errorf("it has more than %d MiB: leave files out by a .gitignore, or bring data another way", maxPackage>>20)
	}
	return nil
}

func addFile(archive *zip.Writer, rel string, info fs.FileInfo, text []byte) error {
	header := &zip.FileHeader{Name: rel, Method: zip.Deflate}
	header.SetMode(info.Mode().Perm())
	header.Modified = info.ModTime()
	w, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// ignoreRule is one line of a .gitignore.
type ignoreRule struct {
	pattern  string // without slashes at its ends
	base     string // directory that the rule was found in, "" at the top
	negated  bool
	dirOnly  bool
	anchored bool // relative to base, not any name below it
}

func readIgnores(dir, base string) []ignoreRule {
	var rules []ignoreRule
	names := []string{".gitignore", ".rayignore"}
	if os.Getenv("RAY_RUNTIME_ENV_IGNORE_GITIGNORE") == "1" {
		names = names[1:]
	}
	for _, name := range names {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			rules = append(rules, ignoreRules(strings.Split(string(text), "\n"), base)...)
		}
	}
	return rules
}

func ignoreRules(lines []string, base string) []ignoreRule {
	var rules []ignoreRule
	for _, line := range lines {
		line = strings.TrimRight(line, " \t\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r := ignoreRule{base: base}
		line, r.negated = strings.CutPrefix(line, "!")
		line, r.dirOnly = strings.CutSuffix(line, "/")
		r.anchored = strings.Contains(line, "/")
		r.pattern = strings.TrimPrefix(line, "/")
		if r.pattern != "" {
			rules = append(rules, r)
		}
	}
	return rules
}

// ignored applies the rules in order: the last one that matches decides.
func ignored(rules []ignoreRule, rel string, dir bool) bool {
	out := false
	for _, r := range rules {
		if r.matches(rel, dir) {
			out = !r.negated
		}
	}
	return out
}

func (r ignoreRule) matches(rel string, dir bool) bool {
	if r.dirOnly && !dir {
		return false
	}
	if r.base != "" {
		rel = strings.TrimPrefix(rel, r.base+"/")
	}
	if !r.anchored {
		return matchParts([]string{r.pattern}, []string{path.Base(rel)})
	}
	return matchParts(strings.Split(r.pattern, "/"), strings.Split(rel, "/"))
}

// matchParts matches a path part by part; ** stands for any number of parts.
func matchParts(pattern, parts []string) bool {
	if len(pattern) == 0 {
		return len(parts) == 0
	}
	if pattern[0] == "**" {
		for i := range len(parts) + 1 {
			if matchParts(pattern[1:], parts[i:]) {
				return true
			}
		}
		return false
	}
	if len(parts) == 0 {
		return false
	}
	ok, err := path.Match(pattern[0], parts[0])
	return err == nil && ok && matchParts(pattern[1:], parts[1:])
}
