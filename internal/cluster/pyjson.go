package cluster

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// pyJSON writes v as Python's json.dumps(v, sort_keys=True) does: ", " and
// ": " between items, \uXXXX for everything outside ASCII, floats by repr.
// Hashes are taken over this text, so that a machine which another launcher
// tagged with the same hash is recognised.
func pyJSON(v any) string {
	w := jsonWriter{float: pyFloat}
	w.value(v)
	return w.String()
}

// PythonJSON is pyJSON for files that upstream's Python writes.
func PythonJSON(v any) string { return pyJSON(v) }

// fileJSON is the same for a file that is read as YAML 1.1, where a number
// with an exponent needs a point too.
func fileJSON(v any) string {
	w := jsonWriter{float: func(f float64) string {
		s := pyFloat(f)
		if mantissa, exponent, ok := strings.Cut(s, "e"); ok && !strings.Contains(s, ".") {
			return mantissa + ".0e" + exponent
		}
		return s
	}}
	w.value(v)
	return w.String()
}

type jsonWriter struct {
	strings.Builder
	float func(float64) string
}

func (b *jsonWriter) value(v any) {
	switch x := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(x))
	case int:
		b.WriteString(strconv.Itoa(x))
	case int64:
		b.WriteString(strconv.FormatInt(x, 10))
	case *big.Int:
		b.WriteString(x.String())
	case float64:
		b.WriteString(b.float(x))
	case string:
		b.text(x)
	case []string:
		b.list(len(x), func(i int) any { return x[i] })
	case []any:
		b.list(len(x), func(i int) any { return x[i] })
	case map[string]string:
		b.object(slices.Sorted(maps.Keys(x)), func(k string) any { return x[k] })
	case map[string]any:
		b.object(slices.Sorted(maps.Keys(x)), func(k string) any { return x[k] })
	default:
		panic(fmt.Sprintf("cluster: no JSON form for %T", v))
	}
}

func (b *jsonWriter) list(n int, at func(int) any) {
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.value(at(i))
	}
	b.WriteByte(']')
}

func (b *jsonWriter) object(keys []string, at func(string) any) {
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteString(", ")
		}
		b.text(k)
		b.WriteString(": ")
		b.value(at(k))
	}
	b.WriteByte('}')
}

// pyFloat is repr(f): the shortest digits, an exponent only from 1e16 up and
// below 1e-4, always with a point or an exponent.
func pyFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func (b *jsonWriter) text(s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < 0x20 || r > 0x7e && r < 0x10000:
			// 0x7f is written as it is by Python.
			if r == 0x7f {
				b.WriteByte(0x7f)
				continue
			}
			_, _ = fmt.Fprintf(b, `\u%04x`, r)
		case r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			_, _ = fmt.Fprintf(b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
