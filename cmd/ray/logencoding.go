package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// decoder gives what turns a log in the chosen encoding into UTF-8. Without a
// choice bytes go through as they are: a log may hold anything.
func (o *logOptions) decoder() (func(io.Reader) io.Reader, error) {
	if o.encoding == "" && o.errors == "" {
		return func(r io.Reader) io.Reader { return r }, nil
	}
	e, err := encodingOf(o.encoding)
	if err != nil {
		return nil, err
	}
	text := &utf8Text{errors: cmp.Or(o.errors, "strict"), decoded: e != nil}
	return func(r io.Reader) io.Reader {
		if e != nil {
			return transform.NewReader(r, transform.Chain(e.NewDecoder(), text))
		}
		return transform.NewReader(r, text)
	}, nil
}

// encodingOf finds an encoding by one of Python's names for it; nil is UTF-8.
func encodingOf(name string) (encoding.Encoding, error) {
	want := plainName(name)
	switch want {
	case "", "utf8", "u8", "ascii", "usascii":
		return nil, nil
	case "latin1", "l1", "latin", "iso8859":
		want = "iso88591"
	case "utf16", "u16":
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), nil
	case "utf16le":
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), nil
	case "utf16be":
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), nil
	}
	for _, e := range charmap.All {
		if known, ok := e.(fmt.Stringer); ok && plainName(known.String()) == want {
			return e, nil
		}
	}
	return nil, fmt.Errorf("not supported yet: --encoding %s: without the option bytes are printed as they are, for iconv to read", name)
}

// plainName makes one of the ways to write an encoding's name: cp1252 of Windows-1252.
func plainName(name string) string {
	name = strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))
	return strings.NewReplacer("windows", "cp", "ibmcodepage", "cp").Replace(name)
}

// utf8Text passes UTF-8 on and does with what is none as errors says. In text
// that was decoded the sign for what could not be is the same case.
type utf8Text struct {
	transform.NopResetter
	errors  string
	decoded bool
}

var errNotText = errors.New("the log has bytes that are not in its encoding: choose another with --encoding, or --encoding-errors replace")

// Transform implements transform.Transformer.
func (t *utf8Text) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		r, size := utf8.DecodeRune(src[nSrc:])
		if r == utf8.RuneError && size == 1 && !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		out := src[nSrc : nSrc+size]
		if r == utf8.RuneError && (size == 1 || t.decoded) {
			switch t.errors {
			case "strict":
				return nDst, nSrc, errNotText
			case "ignore":
				out = nil
			case "replace":
				out = []byte(string(utf8.RuneError))
			case "backslashreplace":
				if out = fmt.Appendf(nil, `\x%02x`, src[nSrc]); t.decoded {
					out = []byte(`\ufffd`) // what it was is known no more
				}
			}
		}
		if nDst+len(out) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += copy(dst[nDst:], out)
		nSrc += size
	}
	return nDst, nSrc, nil
}
