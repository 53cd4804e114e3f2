package cluster

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"

	"gopkg.in/yaml.v3"
)

// maxNodes bounds what aliases may expand to.
const maxNodes = 1 << 18

// Plain scalars mean what YAML 1.1 says: `yes` is true, 0o17 is text, 017 is
// fifteen, 1:30 is ninety. The yaml package follows 1.2 in most of these, so
// its own resolution is not used.
var (
	reBool  = regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	reNull  = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	reInt   = regexp.MustCompile(`^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)
	reFloat = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
)

// parseYAML reads the one document of data.
func parseYAML(data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(joinSurrogates(string(data))))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty")
		}
		return nil, err
	}
	var next yaml.Node
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one YAML document")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("the file is empty")
	}
	return doc.Content[0], nil
}

var reSurrogates = regexp.MustCompile(`\\+u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}`)

// joinSurrogates rewrites the pairs of escapes by which JSON names characters
// beyond 16 bits, and which the YAML reader refuses, to YAML's own escape. Only
// JSON text has them: files for heads are written so.
func joinSurrogates(text string) string {
	if !strings.HasPrefix(text, "{") {
		return text
	}
	return reSurrogates.ReplaceAllStringFunc(text, func(m string) string {
		slashes := strings.Index(m, "u")
		if slashes%2 == 0 {
			return m // an escaped backslash and plain text
		}
		hi, _ := strconv.ParseUint(m[slashes+1:slashes+5], 16, 16)
		lo, _ := strconv.ParseUint(m[slashes+7:], 16, 16)
		return fmt.Sprintf(`%sU%08x`, m[:slashes], utf16.DecodeRune(rune(hi), rune(lo)))
	})
}

// converter makes plain values of nodes: map[string]any, []any, string, bool,
// int64, *big.Int, float64, nil.
type converter struct {
	nodes int
	stack map[*yaml.Node]bool // aliases being expanded, against loops
}

func (c *converter) value(n *yaml.Node) (any, error) {
	if c.nodes++; c.nodes > maxNodes {
		return nil, fmt.Errorf("line %d: aliases expand to more than %d values", n.Line, maxNodes)
	}
	switch n.Kind {
	case yaml.AliasNode:
		if c.stack[n.Alias] {
			return nil, fmt.Errorf("line %d: alias *%s contains itself", n.Line, n.Value)
		}
		if c.stack == nil {
			c.stack = map[*yaml.Node]bool{}
		}
		c.stack[n.Alias] = true
		defer delete(c.stack, n.Alias)
		return c.value(n.Alias)
	case yaml.MappingNode:
		return c.mapping(n)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			v, err := c.value(item)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	default:
		return scalar(n), nil
	}
}

func (c *converter) mapping(n *yaml.Node) (any, error) {
	pairs, err := flatten(n, &c.nodes)
	if err != nil {
		return nil, err
	}
	m := make(map[string]any, len(pairs))
	for _, p := range pairs {
		v, err := c.value(p.value)
		if err != nil {
			return nil, err
		}
		m[keyText(p.key)] = v
	}
	return m, nil
}

// keyText is a key as JSON has it: what is no text becomes one.
func keyText(n *yaml.Node) string {
	n = resolve(n)
	switch v := scalar(n).(type) {
	case nil, bool, int64, *big.Int, float64:
		return pyJSON(v)
	}
	return n.Value
}

// pair is one key of a mapping with its value.
type pair struct{ key, value *yaml.Node }

// flatten lists the pairs of a mapping with its merge keys (<<) expanded; own
// keys win over merged ones. visited counts mappings, so that merges of merges
// cannot grow without bound.
func flatten(n *yaml.Node, visited *int) ([]pair, error) {
	if *visited++; *visited > maxNodes {
		return nil, fmt.Errorf("line %d: merge keys expand to more than %d values", n.Line, maxNodes)
	}
	var own, merged []pair
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Value != "<<" || k.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			own = append(own, pair{k, v})
			seen[k.Value] = true
			continue
		}
		sources := []*yaml.Node{v}
		if v = resolve(v); v.Kind == yaml.SequenceNode {
			sources = v.Content
		}
		for _, s := range sources {
			if s = resolve(s); s.Kind != yaml.MappingNode {
				return nil, fmt.Errorf("line %d: only mappings can be merged with <<", s.Line)
			}
			more, err := flatten(s, visited)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
		}
	}
	for _, p := range merged {
		if !seen[p.key.Value] {
			seen[p.key.Value] = true
			own = append(own, p)
		}
	}
	return own, nil
}

// resolve follows aliases.
func resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && i < 100; i++ {
		n = n.Alias
	}
	return n
}

// scalar gives the value of a scalar node under YAML 1.1.
func scalar(n *yaml.Node) any {
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if quoted || n.Style&yaml.TaggedStyle != 0 && n.Tag == "!!str" {
		return n.Value
	}
	return plain(n.Value)
}

func plain(s string) any {
	switch {
	case reNull.MatchString(s):
		return nil
	case reBool.MatchString(s):
		switch strings.ToLower(s) {
		case "yes", "true", "on":
			return true
		}
		return false
	case reInt.MatchString(s):
		return plainInt(strings.ReplaceAll(s, "_", ""))
	case reFloat.MatchString(s):
		return plainFloat(strings.ToLower(strings.ReplaceAll(s, "_", "")))
	}
	return s
}

func plainInt(s string) any {
	sign := 1
	body := s
	switch {
	case strings.HasPrefix(s, "-"):
		sign, body = -1, s[1:]
	case strings.HasPrefix(s, "+"):
		body = s[1:]
	}
	n := new(big.Int)
	ok := true
	switch {
	case body == "0":
	case strings.HasPrefix(body, "0b"):
		_, ok = n.SetString(body[2:], 2)
	case strings.HasPrefix(body, "0x"):
		_, ok = n.SetString(body[2:], 16)
	case strings.HasPrefix(body, "0"):
		_, ok = n.SetString(body, 8)
	case strings.Contains(body, ":"):
		for part := range strings.SplitSeq(body, ":") {
			d, _ := new(big.Int).SetString(part, 10)
			n.Mul(n, big.NewInt(60)).Add(n, d)
		}
	default:
		_, ok = n.SetString(body, 10)
	}
	if !ok {
		return s
	}
	if sign < 0 {
		n.Neg(n)
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func plainFloat(s string) any {
	switch strings.TrimLeft(s, "+-") {
	case ".inf":
		if strings.HasPrefix(s, "-") {
			return math.Inf(-1)
		}
		return math.Inf(1)
	case ".nan":
		return math.NaN()
	}
	if strings.Contains(s, ":") {
		return sexagesimal(s)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return s
	}
	return f
}

func sexagesimal(s string) any {
	sign := 1.0
	if strings.HasPrefix(s, "-") {
		sign = -1
	}
	var total float64
	for part := range strings.SplitSeq(strings.TrimLeft(s, "+-"), ":") {
		f, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return s
		}
		total = total*60 + f
	}
	return sign * total
}
