package cluster

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// position is a place in the file.
type position struct{ line, column int }

// checker walks the nodes of a file against the schema. It collects problems
// and remembers where each field stands, for the checks that come later.
type checker struct {
	file     string
	problems Problems
	at       map[string]position
}

func (c *checker) add(p position, path, format string, args ...any) {
	c.problems = append(c.problems, Problem{
		File: c.file, Line: p.line, Column: p.column, Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// addAt reports a problem of the field at path, or of its nearest parent that
// the file has.
func (c *checker) addAt(path, format string, args ...any) {
	for look := path; ; {
		if p, ok := c.at[look]; ok {
			c.add(p, path, format, args...)
			return
		}
		i := strings.LastIndexAny(look, ".[")
		if i < 0 {
			c.add(position{}, path, format, args...)
			return
		}
		look = look[:i]
	}
}

func place(n *yaml.Node) position { return position{n.Line, n.Column} }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// mapping visits the pairs of a mapping, reporting keys given twice. A key
// whose earlier value is empty may be given again, and the last one counts, as
// in YAML's usual readers: nothing of what was written is lost by that.
func (c *checker) mapping(n *yaml.Node, path string, visit func(key, value *yaml.Node, path string)) {
	pairs, err := flatten(n, new(int))
	if err != nil {
		c.add(place(n), path, "%v", err)
		return
	}
	first := map[string]int{}
	for i, p := range pairs {
		full := join(path, p.key.Value)
		if p.key.Kind != yaml.ScalarNode {
			c.add(place(p.key), path, "a key must be text")
			continue
		}
		if line, twice := first[p.key.Value]; twice {
			c.add(place(p.key), full, "given twice; first on line %d", line)
			continue
		}
		if isEmpty(p.value) && slices.ContainsFunc(pairs[i+1:], func(q pair) bool { return q.key.Value == p.key.Value }) {
			continue
		}
		first[p.key.Value] = p.key.Line
		c.at[full] = place(p.key)
		if v := resolve(p.value); v.Kind == yaml.ScalarNode {
			c.at[full] = place(v)
		}
		visit(p.key, p.value, full)
	}
}

// object checks a mapping whose keys are known.
func (c *checker) object(n *yaml.Node, path string, known fields) {
	c.mapping(n, path, func(key, value *yaml.Node, path string) {
		f, ok := known[key.Value]
		switch {
		case !ok:
			c.add(place(key), path, "unknown field%s", didYouMean(key.Value, known.names()))
		case f.gone != "" && !isEmpty(value):
			c.add(place(key), path, "%s", f.gone)
		case f.gone == "":
			c.value(resolve(value), path, f)
		}
	})
}

// isEmpty tells whether the node is null or holds nothing.
func isEmpty(n *yaml.Node) bool {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode {
		return scalar(n) == nil
	}
	return len(n.Content) == 0
}

// value checks one value against its field's description.
func (c *checker) value(n *yaml.Node, path string, f field) {
	if n.Kind == yaml.ScalarNode && scalar(n) == nil && (f.null || f.kind == anyKind) {
		return
	}
	switch f.kind {
	case anyKind:
	case object:
		if c.isMapping(n, path, f.kind) {
			c.object(n, path, f.sub)
		}
	case openObject:
		if c.isMapping(n, path, f.kind) {
			c.nested(n, path)
		}
	case typesMap:
		if c.isMapping(n, path, f.kind) {
			c.mapping(n, path, func(_, v *yaml.Node, path string) {
				c.value(resolve(v), path, field{kind: object, sub: f.sub})
			})
		}
	case textMap, amounts:
		if c.isMapping(n, path, f.kind) {
			item := field{kind: text}
			if f.kind == amounts {
				item = field{kind: number}
			}
			c.mapping(n, path, func(_, v *yaml.Node, path string) { c.value(resolve(v), path, item) })
		}
	case textList:
		c.textList(n, path)
	default:
		c.scalar(n, path, f)
	}
}

// nested notes where the fields of a section with any keys stand.
func (c *checker) nested(n *yaml.Node, path string) {
	c.mapping(n, path, func(_, v *yaml.Node, path string) {
		// An alias may lead back to where we are; converting has refused that,
		// and positions below one are not needed.
		if v.Kind == yaml.MappingNode {
			c.nested(v, path)
		}
	})
}

func (c *checker) isMapping(n *yaml.Node, path string, k kind) bool {
	if n.Kind == yaml.MappingNode {
		return true
	}
	c.add(place(n), path, "expected %s, got %s", want[k], describe(n))
	return false
}

func (c *checker) textList(n *yaml.Node, path string) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode && scalar(n) != nil {
			hint = "; put \"- \" before it"
		}
		c.add(place(n), path, "expected %s, got %s%s", want[textList], describe(n), hint)
		return
	}
	for i, item := range n.Content {
		c.value(resolve(item), fmt.Sprintf("%s[%d]", path, i), field{kind: text})
	}
}

func (c *checker) scalar(n *yaml.Node, path string, f field) {
	if n.Kind != yaml.ScalarNode {
		c.add(place(n), path, "expected %s, got %s", want[f.kind], describe(n))
		return
	}
	v := scalar(n)
	ok := false
	switch x := v.(type) {
	case string:
		ok = f.kind == text
	case bool:
		ok = f.kind == boolean
	case int64:
		ok = f.kind == integer || f.kind == number
	case *big.Int:
		c.add(place(n), path, "%s is too large", n.Value)
		return
	case float64:
		ok = f.kind == number && !math.IsNaN(x)
	}
	if !ok {
		hint := ""
		if f.kind == text && v != nil {
			hint = "; put it in quotes"
		}
		c.add(place(n), path, "expected %s, got %s%s", want[f.kind], describe(n), hint)
		return
	}
	if amount, is := asFloat(v); is && amount < f.min {
		c.add(place(n), path, "must be at least %s, got %s", pyJSON(int64(f.min)), n.Value)
	}
}

// describe names what a node is, for "expected X, got Y".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch v := scalar(n).(type) {
	case nil:
		return "nothing"
	case bool:
		return fmt.Sprintf("the truth value %s", n.Value)
	case string:
		if len(v) > 40 {
			v = v[:40] + "…"
		}
		return fmt.Sprintf("the text %q", v)
	default:
		return fmt.Sprintf("the number %s", n.Value)
	}
}

func asFloat(v any) (float64, bool) {
	switch x := v.(type) {
	case int64:
		return float64(x), true
	case float64:
		return x, true
	}
	return 0, false
}
