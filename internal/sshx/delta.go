package sshx

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
)

// stamps tell files apart without reading them: permissions, size and the time
// of the last change to the nanosecond, by path below a directory.
type stamps map[string]string

func stampOf(info fs.FileInfo) string {
	return fmt.Sprintf("%o %d %d.%09d", info.Mode().Perm(), info.Size(), info.ModTime().Unix(), info.ModTime().Nanosecond())
}

// same tells whether the file is there as it is here.
func (s stamps) same(rel string, info fs.FileInfo) bool {
	have, ok := s[rel]
	return ok && info.Mode().IsRegular() && have == stampOf(info)
}

// stampsThere lists the regular files below a directory of the host, none if
// the host cannot tell: without GNU find everything is sent.
func stampsThere(ctx context.Context, h Host, dir string) stamps {
	var out strings.Builder
	line := "cd " + quotePath(dir) + ` 2>/dev/null && find . -type f -printf '%m %s %T@ %P\0' 2>/dev/null`
	if err := h.Run(ctx, Command{Line: line, Stdout: &out}); err != nil {
		return nil
	}
	found := stamps{}
	for entry := range strings.SplitSeq(out.String(), "\x00") {
		f := strings.SplitN(entry, " ", 4)
		if len(f) < 4 {
			continue
		}
		seconds, fraction, _ := strings.Cut(f[2], ".")
		if len(fraction) < 9 {
			continue
		}
		found[f[3]] = f[0] + " " + f[1] + " " + seconds + "." + fraction[:9]
	}
	return found
}
