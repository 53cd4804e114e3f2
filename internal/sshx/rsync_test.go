package sshx

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// shape tells what lies below a directory as rsync -a copies it: kind,
// permissions, time in seconds, contents or target of each path.
func shape(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %v", rel, info.Mode())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(p)
			out = append(out, line+" "+link)
			return err
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			out = append(out, fmt.Sprintf("%s %d %q", line, info.ModTime().Unix(), data))
			return err
		}
		out = append(out, line)
		return nil
	})
	return out, err
}

// rsync copies as upstream's launcher has rsync do it.
func rsync(from, to string, filter Filter) error {
	args := []string{"-a"}
	for _, e := range filter.Exclude {
		args = append(args, "--exclude", e)
	}
	for _, f := range filter.Ignore {
		args = append(args, "--filter", "dir-merge,- "+f)
	}
	out, err := exec.Command("rsync", append(args, from+"/", to+"/")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("rsync: %w: %s", err, out)
	}
	return nil
}

func withRsync(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skip("rsync is not here to compare with (apt-get install rsync)")
	}
}

var (
	someName = rapid.SampledFrom([]string{"a", "b", "ab", "a.log", "b.log", ".hid", "x y"})
	// Directories have none of these: rsync takes their names for patterns.
	oddName  = rapid.OneOf(someName, rapid.SampledFrom([]string{"[b]", `b\`, "*"}))
	somePart = rapid.OneOf(someName, rapid.SampledFrom([]string{"*", "?", "**", "a*", "*.log", "a**", "**b", "[ab]", "[!a]", "[^a]*", "[[:alpha:]]", `\*`, `a\b`, "***", "[a", "[]b]*"}))
)

func drawPattern(t *rapid.T, label string) string {
	parts := rapid.SliceOfN(somePart, 1, 3).Draw(t, label)
	for i, part := range parts[:len(parts)-1] {
		if part == "[a" { // rsync counts the slash of a bracket as one between names
			parts[i] = "a"
		}
	}
	text := strings.Join(parts, "/")
	if rapid.Bool().Draw(t, label+" anchored") {
		text = "/" + text
	}
	if rapid.IntRange(0, 3).Draw(t, label+" directory") == 0 {
		text += "/"
	}
	return text
}

// drawTree writes files, links, empty directories and pattern files.
func drawTree(t *rapid.T, dir string) error {
	for _, names := range rapid.SliceOfN(rapid.SliceOfN(someName, 0, 3), 1, 12).Draw(t, "paths") {
		kind := rapid.IntRange(0, 5).Draw(t, "kind")
		last := oddName
		if kind == 0 {
			last = someName
		}
		names = append(names, last.Draw(t, "name"))
		p := filepath.Join(append([]string{dir}, names...)...)
		if os.MkdirAll(filepath.Dir(p), 0o755) != nil {
			continue // a file is there
		}
		if _, err := os.Lstat(p); err == nil {
			continue
		}
		var err error
		switch kind {
		case 0:
			err = os.Mkdir(p, rapid.SampledFrom([]fs.FileMode{0o700, 0o755, 0o775}).Draw(t, "directory's mode"))
		case 1:
			err = os.Symlink(rapid.SampledFrom([]string{"a", "../b", "/nowhere"}).Draw(t, "link"), p)
		default:
			mode := rapid.SampledFrom([]fs.FileMode{0o600, 0o644, 0o755, 0o444}).Draw(t, "mode")
			if err = os.WriteFile(p, []byte(strings.Join(names, "/")), mode); err == nil {
				err = os.Chtimes(p, time.Time{}, time.Unix(1_600_000_000+int64(len(p)), 0))
			}
		}
		if err != nil {
			return err
		}
	}
	var dirs []string
	if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	}); err != nil {
		return err
	}
	for _, d := range rapid.SliceOfN(rapid.SampledFrom(dirs), 0, 3).Draw(t, "pattern files") {
		lines := []string{"# a comment", "", drawPattern(t, "line"), drawPattern(t, "line")}
		if err := os.WriteFile(filepath.Join(d, ".ignore"), []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// TestAsRsync copies random trees under random patterns, up and down, and has
// the real rsync do the same with the options that upstream's launcher gives it.
func TestAsRsync(t *testing.T) {
	withRsync(t)
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		from := filepath.Join(dir, "from")
		if err := os.Mkdir(from, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := drawTree(t, from); err != nil {
			t.Fatal(err)
		}
		filter := Filter{}
		for range rapid.IntRange(0, 2).Draw(t, "excludes") {
			prefix := rapid.SampledFrom([]string{"", "", "- ", "+ "}).Draw(t, "prefix")
			filter.Exclude = append(filter.Exclude, prefix+drawPattern(t, "exclude"))
		}
		if rapid.Bool().Draw(t, "filtered") {
			filter.Ignore = []string{".ignore"}
		}
		if err := rsync(from, filepath.Join(dir, "rsync"), filter); err != nil {
			t.Fatal(err)
		}
		want, err := shape(filepath.Join(dir, "rsync"))
		if err != nil {
			t.Fatal(err)
		}
		h := &CommandHost{Name: "here", RunFunc: (&Local{Name: "here", Home: dir}).Run}
		for way, copied := range map[string]error{
			"up":    h.Upload(t.Context(), from, filepath.Join(dir, "up"), filter),
			"down":  h.Download(t.Context(), from, filepath.Join(dir, "down"), filter),
			"local": copyTree(t.Context(), from, filepath.Join(dir, "local"), filter),
		} {
			if copied != nil {
				t.Fatal(copied)
			}
			got, err := shape(filepath.Join(dir, way))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s with %q copied\n  %s\nrsync\n  %s", way, filter, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		}
	})
}
