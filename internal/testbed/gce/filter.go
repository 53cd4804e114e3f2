package gce

import (
	"fmt"
	"strings"
)

// filter tells whether a resource is wanted.
type filter func(Resource) bool

// parseFilter understands the service's filter language as far as launchers
// use it: (field = value), field != value, field:*, NOT, AND and OR.
func parseFilter(text string) (filter, error) {
	if strings.TrimSpace(text) == "" {
		return func(Resource) bool { return true }, nil
	}
	p := &filterParser{words: words(text)}
	f, err := p.or()
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("unexpected %q", p.words[0])
	}
	if err != nil {
		return nil, invalid("Invalid value for field 'filter': '%s'. Invalid list filter expression: %v.", text, err)
	}
	return f, nil
}

func words(text string) []string {
	for _, mark := range []string{"(", ")", "!="} {
		text = strings.ReplaceAll(text, mark, " "+mark+" ")
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "!=", "≠"), "=", " = ")
	text = strings.ReplaceAll(text, "≠", "!=")
	text = strings.ReplaceAll(text, ":*", " :* ")
	return strings.Fields(text)
}

type filterParser struct{ words []string }

func (p *filterParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *filterParser) peek(word string) bool {
	return len(p.words) > 0 && strings.EqualFold(p.words[0], word)
}

func (p *filterParser) or() (filter, error) {
	return p.chain("OR", p.and, func(a, b bool) bool { return a || b })
}

func (p *filterParser) and() (filter, error) {
	return p.chain("AND", p.one, func(a, b bool) bool { return a && b })
}

func (p *filterParser) chain(word string, part func() (filter, error), join func(a, b bool) bool) (filter, error) {
	f, err := part()
	for err == nil && p.peek(word) {
		p.next()
		left := f
		var right filter
		if right, err = part(); err == nil {
			f = func(r Resource) bool { return join(left(r), right(r)) }
		}
	}
	return f, err
}

func (p *filterParser) one() (filter, error) {
	switch w := p.next(); {
	case w == "":
		return nil, fmt.Errorf("it ends too early")
	case strings.EqualFold(w, "NOT"):
		f, err := p.one()
		return func(r Resource) bool { return !f(r) }, err
	case w == "(":
		f, err := p.or()
		if err == nil && p.next() != ")" {
			err = fmt.Errorf("a parenthesis is not closed")
		}
		return f, err
	default:
		return p.comparison(w)
	}
}

func (p *filterParser) comparison(field string) (filter, error) {
	op := p.next()
	if op == ":*" {
		return func(r Resource) bool { _, ok := r.field(field); return ok }, nil
	}
	value := strings.Trim(p.next(), `"`)
	if op != "=" && op != "!=" {
		return nil, fmt.Errorf("unknown operator %q", op)
	}
	return func(r Resource) bool {
		got, _ := r.field(field)
		return (got == value) == (op == "=")
	}, nil
}

// field gives the text at a dotted path.
func (r Resource) field(path string) (string, bool) {
	var at any = map[string]any(r)
	for _, part := range strings.Split(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return "", false
		}
		if at, ok = m[part]; !ok {
			return "", false
		}
	}
	s, ok := at.(string)
	return s, ok
}
