package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxPackage is the largest folder or package, in bytes, that the job API takes.
const maxPackage = 512 << 20

// packDir makes a zip archive of a directory and names it by its content.
// .gitignore and .rayignore files in it, and the patterns given, leave files
// out, and so do a few directories that nobody wants to send. With parent the
// names in the archive begin with the directory's own.
func packDir(dir string, excludes []string, parent bool) (name string, content []byte, err error) {
	p := &packer{dir: dir, sizes: map[string]int64{}}
	rules := append(defaultExcludes(), excludes...)
	p.rules = map[string][]ignoreRule{".": append(ignoreRules(rules, ""), readIgnores(dir, "")...)}
	if err = filepath.WalkDir(dir, p.visit); err == nil {
		err = p.checkSize()
	}
	if err == nil && parent {
		err = p.below(dir)
	}
	if err == nil {
		name, content, err = p.pack()
	}
	if err != nil {
		return "", nil, fmt.Errorf("pack the directory %s: %w", dir, err)
	}
	return name, content, nil
}

// packFile makes a zip archive of one file.
func packFile(file string) (name string, content []byte, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", nil, err
	}
	return (&packer{files: []packed{{file, filepath.Base(file), info}}}).pack()
}

// defaultExcludes are what no package holds, unless the environment says so.
func defaultExcludes() []string {
	given, there := os.LookupEnv("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES")
	if !there {
		return []string{"/.git/", ".venv/", "venv/", "__pycache__/"}
	}
	return strings.FieldsFunc(given, func(r rune) bool { return r == ',' })
}

// packer is one run of packDir.
type packer struct {
	dir   string
	rules map[string][]ignoreRule // of each directory, with those above it
	files []packed
	sizes map[string]int64 // bytes of what lies directly in dir
}

// packed is a file that is to be in the archive.
type packed struct {
	file, rel string
	info      fs.FileInfo
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
	info, err := os.Stat(file) // follow links: the archive has none
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	p.files = append(p.files, packed{file, rel, info})
	top, _, deeper := strings.Cut(rel, "/")
	if deeper {
		top += "/"
	}
	p.sizes[top] += info.Size()
	return nil
}

// checkSize refuses a directory over the limit before it is read.
func (p *packer) checkSize() error {
	var total int64
	for _, size := range p.sizes {
		total += size
	}
	if total <= maxPackage {
		return nil
	}
	tops := slices.SortedFunc(maps.Keys(p.sizes), func(a, b string) int { return cmp.Compare(p.sizes[b], p.sizes[a]) })
	var largest []string
	for _, top := range tops[:min(5, len(tops))] {
		largest = append(largest, fmt.Sprintf("%s (%d MiB)", top, p.sizes[top]>>20))
	}
	return fmt.Errorf("it has %d MiB, and %d MiB may be sent. Its largest parts: %s. Leave files out by a .gitignore or runtime_env's excludes, or bring data another way",
		total>>20, maxPackage>>20, strings.Join(largest, ", "))
}

// below puts the directory's own name in front of all others.
func (p *packer) below(dir string) error {
	whole, err := filepath.Abs(dir)
	for i := range p.files {
		p.files[i].rel = filepath.Base(whole) + "/" + p.files[i].rel
	}
	return err
}

func (p *packer) pack() (name string, content []byte, err error) {
	var b bytes.Buffer
	archive, hash := zip.NewWriter(&b), sha256.New()
	for _, f := range p.files {
		text, err := os.ReadFile(f.file)
		if err != nil {
			return "", nil, err
		}
		_, _ = fmt.Fprintf(hash, "%s %o %d\n", f.rel, f.info.Mode().Perm(), len(text))
		_, _ = hash.Write(text)
		if err := addFile(archive, f.rel, f.info, text); err != nil {
			return "", nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return "", nil, err
	}
	return packageName(hash.Sum(nil), ".zip"), b.Bytes(), nil
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
