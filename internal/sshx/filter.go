package sshx

import (
	"bufio"
	"io"
	"path"
	"regexp"
	"strings"
)

// rules decides which files of a directory are left out, as rsync does with
// one --exclude for each pattern and one dir-merge of excludes for each pattern
// file. Patterns are rsync's: * and ? within one name, ** across names, a
// trailing / for directories only, a leading / for the top only; one with a /
// inside it matches at the end of the path. One thing is git's and not rsync's,
// since pattern files are most often a .gitignore: a line !X takes back what an
// earlier line of a pattern file left out.
type rules struct {
	fixed []pattern // of the command or the cluster file: the first that matches decides
	files []pattern // of pattern files, outer directories first: the last that matches decides
}

type pattern struct {
	base     string // directory below which the pattern counts
	anchored bool   // counts from base, not from anywhere
	nameOnly bool   // looks at the last name of the path alone
	dirOnly  bool
	whole    bool // ends in /***: the directory itself and all that is in it
	keep     bool
	text     *regexp.Regexp // of the path with / before it; nil matches nothing
}

// add takes one pattern of the cluster file: "+ X" keeps what a later one would
// leave out, "- X" is X.
func (r *rules) add(text string) {
	keep := false
	if rest, ok := strings.CutPrefix(text, "+ "); ok {
		keep, text = true, rest
	} else {
		text = strings.TrimPrefix(text, "- ")
	}
	if text == "!" { // rsync's way to forget the patterns so far
		r.fixed = nil
	} else if text != "" {
		r.fixed = append(r.fixed, compile("", text, keep))
	}
}

// rulesOf are those of the cluster file or the command.
func rulesOf(filter Filter) rules {
	var r rules
	for _, p := range filter.Exclude {
		r.add(p)
	}
	return r
}

// addFile takes the lines of a pattern file in the directory dir, "." for the top.
func (r *rules) addFile(dir string, file io.Reader) {
	if dir == "." {
		dir = ""
	}
	for s := bufio.NewScanner(file); s.Scan(); {
		r.addLine(dir, s.Text())
	}
}

// addLine takes one line of a pattern file in the directory base, "" for the top.
func (r *rules) addLine(base, line string) {
	line = strings.TrimRight(line, " \t\r")
	if line == "" || line[0] == '#' || line[0] == ';' {
		return
	}
	line, keep := strings.CutPrefix(line, "!")
	if line != "" {
		r.files = append(r.files, compile(base, line, keep))
	}
}

// out tells whether the file at rel (slashes, from the top) is left out.
func (r *rules) out(rel string, dir bool) bool {
	for _, p := range r.fixed {
		if p.matches(rel, dir) {
			return !p.keep
		}
	}
	for i := len(r.files) - 1; i >= 0; i-- {
		if p := r.files[i]; p.matches(rel, dir) {
			return !p.keep
		}
	}
	return false
}

func (p pattern) matches(rel string, dir bool) bool {
	if p.text == nil || p.dirOnly && !dir {
		return false
	}
	if p.base != "" {
		below, ok := strings.CutPrefix(rel, p.base+"/")
		if !ok {
			return false
		}
		if p.anchored { // others see the whole path, as rsync has it
			rel = below
		}
	}
	if p.nameOnly {
		rel = path.Base(rel)
	}
	if p.text.MatchString("/" + rel) {
		return true
	}
	return dir && p.whole && p.text.MatchString("/"+rel+"/")
}

func compile(base, text string, keep bool) pattern {
	p := pattern{base: base, keep: keep}
	if rest, ok := strings.CutSuffix(text, "/"); ok && rest != "" {
		p.dirOnly, text = true, rest
	}
	rest, anchored := strings.CutPrefix(text, "/")
	wide := strings.Contains(rest, "**")
	p.anchored = anchored
	p.nameOnly = !anchored && !wide && !strings.Contains(rest, "/")
	start := "^/(?:"
	switch {
	case strings.HasPrefix(text, "**"):
		start = "^(?:"
	case !anchored && !p.nameOnly:
		start = "^(?:.*/)(?:"
	}
	end := ")$"
	if above, ok := strings.CutSuffix(rest, "/***"); ok {
		rest, end, p.whole = above, "/.*)$", true
	}
	if body, ok := expression(rest); ok {
		p.text, _ = regexp.Compile("(?s)" + start + body + end)
	}
	return p
}

// expression is the pattern as a regular expression; false for one with a
// bracket that is never closed, which matches nothing.
func expression(pattern string) (string, bool) {
	if !strings.ContainsAny(pattern, "*?[") { // then a backslash is one
		return regexp.QuoteMeta(pattern), true
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			if strings.HasPrefix(pattern[i:], "**") {
				for i+1 < len(pattern) && pattern[i+1] == '*' {
					i++
				}
				b.WriteString(".*")
			} else {
				b.WriteString("[^/]*")
			}
		case '?':
			b.WriteString("[^/]")
		case '[':
			class, n := bracket(pattern[i:])
			if n == 0 {
				return "", false
			}
			b.WriteString(class)
			i += n - 1
		case '\\':
			i++
			if i == len(pattern) {
				return "", false
			}
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			if c < 0x80 {
				b.WriteString(regexp.QuoteMeta(string(c)))
			} else {
				b.WriteByte(c)
			}
		}
	}
	return b.String(), true
}

// bracket is the class at the start of text as a regular expression, and how
// many bytes of text it is; 0 if it has no end.
func bracket(text string) (string, int) {
	class, i := "[", 1
	if i < len(text) && (text[i] == '!' || text[i] == '^') {
		class, i = "[^/", i+1
	}
	for first := true; i < len(text); first = false {
		switch c := text[i]; {
		case c == ']' && !first:
			return class + "]", i + 1
		case strings.HasPrefix(text[i:], "[:"):
			n := strings.Index(text[i:], ":]")
			if n < 0 {
				return "", 0
			}
			class += text[i : i+n+2]
			i += n + 2
			continue
		case c == '\\' && i+1 < len(text):
			i++
			class += regexp.QuoteMeta(text[i : i+1])
		case strings.IndexByte(`[]^&~`, c) >= 0:
			class += `\` + string(c)
		default:
			class += text[i : i+1]
		}
		i++
	}
	return "", 0
}
