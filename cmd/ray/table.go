package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table lays out rows in columns that are two spaces apart, with a row number
// in front. Columns of numbers are set right; cells may have several lines.
func table(out io.Writer, headers []string, rows [][]string) {
	head := append([]string{""}, headers...)
	body := make([][]string, len(rows))
	for i, row := range rows {
		body[i] = append([]string{strconv.Itoa(i)}, row...)
	}
	width, right := measure(head, body)
	var b bytes.Buffer
	write := func(cells []string) {
		var line bytes.Buffer
		for i, cell := range cells {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if right[i] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	write(head)
	for _, row := range body {
		for _, line := range splitLines(row) {
			write(line)
		}
	}
	_, _ = out.Write(b.Bytes())
}

func measure(head []string, body [][]string) (width []int, right []bool) {
	width, right = make([]int, len(head)), make([]bool, len(head))
	for i, name := range head {
		width[i], right[i] = utf8.RuneCountInString(name), len(body) > 0
		for _, row := range body {
			for line := range strings.SplitSeq(row[i], "\n") {
				width[i] = max(width[i], utf8.RuneCountInString(line))
			}
			if _, err := strconv.ParseFloat(row[i], 64); err != nil && row[i] != "" {
				right[i] = false
			}
		}
	}
	return width, right
}

// splitLines turns a row with cells of several lines into rows of one.
func splitLines(row []string) [][]string {
	parts, most := make([][]string, len(row)), 1
	for i, cell := range row {
		parts[i] = strings.Split(cell, "\n")
		most = max(most, len(parts[i]))
	}
	lines := make([][]string, most)
	for n := range lines {
		lines[n] = make([]string, len(row))
		for i := range row {
			if n < len(parts[i]) {
				lines[n][i] = parts[i][n]
			}
		}
	}
	return lines
}

// cell is a JSON value as text: an object becomes a line for each key.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	case json.Number:
		return v.String()
	case map[string]any:
		lines := make([]string, 0, len(v))
		for _, k := range sortedKeys(v) {
			lines = append(lines, k+": "+cell(v[k]))
		}
		return strings.Join(lines, "\n")
	}
	text, _ := json.Marshal(v)
	return string(text)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// writeYAML writes a JSON value as YAML block style: enough for what the
// state API answers. Strings that YAML would read as something else, or could
// not read, are written as JSON strings, which YAML allows.
func writeYAML(b *bytes.Buffer, v any, indent string, keys []string) {
	switch v := v.(type) {
	case map[string]any:
		for i, k := range ordered(v, keys) {
			if i > 0 {
				b.WriteString(indent)
			}
			b.WriteString(k + ":")
			writeNested(b, v[k], indent)
		}
	case []any:
		for i, item := range v {
			if i > 0 {
				b.WriteString(indent)
			}
			b.WriteString("-   ")
			writeYAML(b, item, indent+"    ", keys)
		}
	default:
		b.WriteString(scalar(v) + "\n")
	}
}

func writeNested(b *bytes.Buffer, v any, indent string) {
	deeper := indent + "    "
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			b.WriteString(" {}\n")
			return
		}
		b.WriteString("\n" + deeper)
		writeYAML(b, v, deeper, nil)
	case []any:
		if len(v) == 0 {
			b.WriteString(" []\n")
			return
		}
		b.WriteString("\n" + indent)
		writeYAML(b, v, indent, nil)
	default:
		b.WriteString(" " + scalar(v) + "\n")
	}
}

// ordered lists a row's keys: first the known ones, in their order.
func ordered(row map[string]any, known []string) []string {
	var keys []string
	seen := map[string]bool{}
	for _, k := range known {
		if _, ok := row[k]; ok {
			keys, seen[k] = append(keys, k), true
		}
	}
	for _, k := range sortedKeys(row) {
		if !seen[k] {
			keys = append(keys, k)
		}
	}
	return keys
}

func scalar(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		if plainYAML(v) {
			return v
		}
	case []any, map[string]any:
		return fmt.Sprint(v)
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// plainYAML tells whether a string reads back as itself without quotes.
func plainYAML(s string) bool {
	switch strings.ToLower(s) {
	case "", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "~":
		return false
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return false
	}
	first := s[0]
	if !(first >= 'a' && first <= 'z' || first >= 'A' && first <= 'Z' || first == '_' || first == '/') {
		return false
	}
	if strings.HasSuffix(s, " ") || strings.HasSuffix(s, ":") {
		return false
	}
	return !strings.Contains(s, ": ") && !strings.Contains(s, " #") && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
