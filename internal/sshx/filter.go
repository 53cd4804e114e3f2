package sshx

import (
	"path"
	"strings"
)

// rules decides which files of a directory are left out. Patterns are those of
// rsync and gitignore that people use: * and ? within one name, ** across
// names, a trailing / for directories only, a leading / for the top only.
type rules struct {
	patterns []pattern
}

type pattern struct {
	text     string
	base     string // directory that the pattern counts from
	anchored bool
	dirOnly  bool
	keep     bool // a ! pattern: not left out after all
}

func (r *rules) add(base, text string) {
	text = strings.TrimSpace(text)
	if text == "" || strings.HasPrefix(text, "#") {
		return
	}
	p := pattern{base: base}
	if rest, ok := strings.CutPrefix(text, "!"); ok {
		p.keep, text = true, rest
	}
	if rest, ok := strings.CutSuffix(text, "/"); ok {
		p.dirOnly, text = true, rest
	}
	if rest, ok := strings.CutPrefix(text, "/"); ok {
		p.anchored, text = true, rest
	} else if strings.Contains(text, "/") {
		p.anchored = true
		if !strings.HasPrefix(text, "**/") {
			text = "**/" + text
		}
	}
	p.text = text
	r.patterns = append(r.patterns, p)
}

// out tells whether the file at rel (slashes, from the top) is left out; the
// last pattern that matches decides.
func (r *rules) out(rel string, dir bool) bool {
	out := false
	for _, p := range r.patterns {
		if p.dirOnly && !dir {
			continue
		}
		name := rel
		if p.base != "" {
			rest, ok := strings.CutPrefix(rel, p.base+"/")
			if !ok {
				continue
			}
			name = rest
		}
		if !p.anchored {
			name = path.Base(name)
		}
		if match(p.text, name) {
			out = !p.keep
		}
	}
	return out
}

// match is path.Match with ** for any number of names.
func match(pattern, name string) bool {
	head, rest, more := strings.Cut(pattern, "/")
	if head == "**" {
		if !more {
			return true
		}
		for {
			if match(rest, name) {
				return true
			}
			_, after, ok := strings.Cut(name, "/")
			if !ok {
				return false
			}
			name = after
		}
	}
	first, after, deeper := strings.Cut(name, "/")
	if ok, err := path.Match(head, first); err != nil || !ok {
		return false
	}
	if !more || !deeper {
		return more == deeper
	}
	return match(rest, after)
}
