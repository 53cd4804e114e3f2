package main

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// What a log in another encoding, or with bytes in none, becomes.
func TestLogEncoding(t *testing.T) {
	for _, c := range []struct{ encoding, errors, in, want, err string }{
		{"", "", "gr\xfc\xdfe \xff", "gr\xfc\xdfe \xff", ""},
		{"latin-1", "", "gr\xfc\xdfe", "grüße", ""},
		{"ISO_8859-15", "strict", "\xa4", "€", ""},
		{"Windows-1252", "", "\x80", "€", ""},
		{"cp437", "", "\xe1", "ß", ""},
		{"koi8-r", "", "\xc4\xc1", "да", ""},
		{"utf-16", "", "\xfe\xff\x00h\x00i\x20\xac", "hi€", ""},
		{"utf-16-le", "", "h\x00i\x00", "hi", ""},
		{"utf-8", "", "grüße", "grüße", ""},
		{"", "strict", "gr\xfc\xdfe", "", "not in its encoding"},
		{"utf8", "ignore", "gr\xfc\xdfe ü \xe2\x82", "gre ü ", ""},
		{"utf8", "replace", "a\xffb", "a\ufffdb", ""},
		{"utf8", "backslashreplace", "a\xffb", `a\xffb`, ""},
		{"cp1252", "strict", "a\x81b", "", "not in its encoding"},
		{"cp1252", "ignore", "a\x81b", "ab", ""},
		{"shift_jis", "", "x", "", "not supported yet: --encoding shift_jis"},
	} {
		o := logOptions{encoding: c.encoding, errors: c.errors}
		decode, err := o.decoder()
		var got []byte
		if err == nil {
			got, err = io.ReadAll(decode(iotest.OneByteReader(strings.NewReader(c.in))))
		}
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q in %s, %s: %q, %v", c.in, c.encoding, c.errors, got, err)
			}
			continue
		}
		if err != nil || string(got) != c.want {
			t.Errorf("%q in %s, %s: %q, %v; want %q", c.in, c.encoding, c.errors, got, err, c.want)
		}
	}
}
