package main

import (
	"encoding/json"
	"io"
)

// printJSON writes a value for programs: indented, and with <, > and & as they
// are, for people read it too.
func printJSON(out io.Writer, value any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}
