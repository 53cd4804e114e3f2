package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
	archive := zip.NewWriter(&b)
	hash := sha256.New()
	top := ignoreRules(append([]string{"/.git/", ".venv/", "venv/", "__pycache__/"}, excludes...), "")
	rules := map[string][]ignoreRule{".": top}
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if rel == "." {
			rules["."] = append(rules["."], readIgnores(file, "")...)
			return nil
		}
		above := rules[path.Dir(rel)]
		if ignored(above, rel, entry.IsDir()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			rules[rel] = append(above[:len(above):len(above)], readIgnores(file, rel)...)
			return nil
		}
		info, err := os.Stat(file) // follow links: the archive has none
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(hash, "%s %o %d\n", rel, info.Mode().Perm(), len(text))
		_, _ = hash.Write(text)
		if err := addFile(archive, rel, info, text); err != nil {
			return err
		}
		if b.Len() > maxPackage {
			return fmt.Errorf("it has more than %d MiB: leave files out by a .gitignore, or bring data another way", maxPackage>>20)
		}
		return nil
	})
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		return "", nil, fmt.Errorf("pack the working directory %s: %w", dir, err)
	}
	return "_ray_pkg_" + hex.EncodeToString(hash.Sum(nil))[:16] + ".zip", b.Bytes(), nil
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
