package jobs

import (
	"bytes"
	"unicode/utf8"
)

// splitUTF8 makes text of output bytes: invalid bytes are replaced, and a
// character that is cut off at the end is kept for the next piece.
func splitUTF8(b []byte) (text, rest []byte) {
	cut := len(b)
	for i := 1; i <= min(utf8.UTFMax-1, len(b)); i++ {
		c := b[len(b)-i]
		if utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				cut = len(b) - i
			}
			break
		}
	}
	return bytes.ToValidUTF8(b[:cut], []byte("\uFFFD")), bytes.Clone(b[cut:])
}
