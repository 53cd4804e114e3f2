package archtest

import (
	"go/ast"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Limits in lines. What is over the first is reported, over the second fails.
const (
	fileGood, fileMost = 300, 600
	funcGood, funcMost = 45, 80
)

// vague names say nothing about what a package is for.
var vague = []string{"util", "utils", "common", "shared", "types", "helper", "helpers", "misc", "base", "lib"}

func TestPackagesExplainThemselves(t *testing.T) {
	commented := map[string]bool{}
	for _, s := range sources(t) {
		if slices.Contains(vague, s.file.Name.Name) || slices.Contains(vague, path.Base(s.dir)) {
			t.Errorf("%s: package %s: name it for what it does", s.name, s.file.Name.Name)
		}
		if s.test {
			continue
		}
		commented[s.dir] = commented[s.dir] || s.file.Doc != nil && len(s.file.Doc.Text()) > 0
	}
	for dir, ok := range commented {
		if !ok {
			t.Errorf("%s: no package comment: say what problem it solves and who may import it", dir)
		}
	}
}

func TestSizes(t *testing.T) {
	var longFiles, longFuncs int
	for _, s := range sources(t) {
		if ast.IsGenerated(s.file) { // its source is what people read and change
			continue
		}
		if s.lines > fileMost {
			t.Errorf("%s has %d lines, more than %d: split it", s.name, s.lines, fileMost)
		}
		if s.lines > fileGood && !s.test {
			longFiles++
			t.Logf("%s has %d lines", s.name, s.lines)
		}
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			n := s.places.Position(f.End()).Line - s.places.Position(f.Pos()).Line + 1
			if n > funcMost {
				t.Errorf("%s: %s has %d lines, more than %d: split it", s.name, f.Name.Name, n, funcMost)
			}
			if n > funcGood {
				longFuncs++
				t.Logf("%s: %s has %d lines", s.name, f.Name.Name, n)
			}
		}
	}
	t.Logf("%d files over %d lines, %d functions over %d", longFiles, fileGood, longFuncs, funcGood)
}

// A test that sleeps for a fixed time is slow on a fast machine and fails on a
// slow one. Polling a condition in a loop is fine, and in a synctest bubble
// time is virtual.
func TestTestsDoNotSleep(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test || imports(s.file, "testing/synctest") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ForStmt, *ast.RangeStmt:
				return false
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && n.Sel.Name == "Sleep" {
					t.Errorf("%s: time.Sleep outside a loop: wait for a condition with a deadline", s.places.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

func imports(f *ast.File, name string) bool {
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+name+`"` })
}

// The project must build and read the same anywhere.
func TestNoPathsOfOneMachine(t *testing.T) {
	out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Skip("not a git checkout: ", err)
	}
	forbidden := []string{"/wo" + "rk/", "/opt/up" + "stream"}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue
		}
		for _, f := range forbidden {
			if strings.Contains(string(text), f) {
				t.Errorf("%s names %s…, a path of one machine", name, f)
			}
		}
	}
}
