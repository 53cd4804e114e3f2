package sshx

import (
	"context"
	"path"
	"slices"
	"strings"
)

// choose lists what of the host's directory is to be copied, each path after
// ./, by one command that tells its paths and its pattern files. It is nil for
// a file, and where nothing is left out.
func choose(ctx context.Context, s Host, remote string, filter Filter) ([]string, error) {
	if len(filter.Exclude)+len(filter.Ignore) == 0 {
		return nil, nil
	}
	q := quotePath(remote)
	line := "[ -d " + q + " ] || exit 0; cd " + q + ` && find . -type d -print0 && printf '\0' && find . ! -type d -print0 && printf '\0'`
	if len(filter.Ignore) > 0 {
		var names []string
		for _, name := range filter.Ignore {
			names = append(names, "-name "+Quote(name))
		}
		line += ` && find . ! -type d \( ` + strings.Join(names, " -o ") +
			` \) -exec sh -c 'for f; do printf "%s\0" "$f"; cat "$f"; printf "\0"; done' sh {} +`
	}
	var out, stderr strings.Builder
	if err := s.Run(ctx, Command{Line: line, Stdout: &out, Stderr: &stderr}); err != nil {
		return nil, err
	}
	if out.Len() == 0 {
		return nil, nil
	}
	fields := strings.Split(out.String(), "\x00")
	dirs, fields := upToEmpty(fields)
	files, fields := upToEmpty(fields)
	texts := map[string]string{}
	for ; len(fields) >= 2; fields = fields[2:] {
		texts[fields[0]] = fields[1]
	}
	return chosen(dirs, files, texts, filter), nil
}

func upToEmpty(fields []string) (before, after []string) {
	n := slices.Index(fields, "")
	if n < 0 {
		return fields, nil
	}
	return fields[:n], fields[n+1:]
}

// chosen are the paths that the filter leaves; texts has the pattern files.
func chosen(dirs, files []string, texts map[string]string, filter Filter) []string {
	r := rulesOf(filter)
	slices.Sort(dirs) // a directory before what is in it
	kept := map[string]bool{}
	var out []string
	for _, dir := range dirs {
		rel := path.Clean(dir)
		if rel != "." && (!kept[path.Dir(rel)] || r.out(rel, true)) {
			continue
		}
		kept[rel] = true
		out = append(out, dir)
		for _, name := range filter.Ignore {
			r.addFile(rel, strings.NewReader(texts["./"+path.Join(rel, name)]))
		}
	}
	for _, file := range files {
		if rel := path.Clean(file); kept[path.Dir(rel)] && !r.out(rel, false) {
			out = append(out, file)
		}
	}
	return out
}
