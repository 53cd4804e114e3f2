package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// source is one Go file of the tree.
type source struct {
	name   string // relative to the root, with slashes
	dir    string
	test   bool
	lines  int
	file   *ast.File
	places *token.FileSet
}

const root = "../.."

// skipped directories hold no source of ours.
var skipped = []string{".git", ".venv", "bin", "dist", "testdata", "node_modules", "__pycache__"}

var tree = sync.OnceValues(func() ([]source, error) {
	var all []source
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains(skipped, entry.Name()) {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(file) != ".go" {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		s := source{
			name: filepath.ToSlash(rel), test: strings.HasSuffix(file, "_test.go"),
			lines: strings.Count(string(text), "\n"), places: token.NewFileSet(),
		}
		s.dir = path.Dir(s.name)
		s.file, err = parser.ParseFile(s.places, s.name, text, parser.ParseComments|parser.SkipObjectResolution)
		all = append(all, s)
		return err
	})
	return all, err
})

func sources(t *testing.T) []source {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no source found")
	}
	return all
}

// within tells whether a directory is the given one or below it.
func within(dir, top string) bool { return dir == top || strings.HasPrefix(dir, top+"/") }
