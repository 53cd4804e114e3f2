package machine

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Largest names the processes with the most resident memory, at most n, as far
// as this one may see: "python3 f (pid 7, 1.20 GB)".
func Largest(n int) string { return largest("/", n) }

func largest(root string, n int) string {
	type process struct {
		rss  uint64
		text string
	}
	var list []process
	dirs, _ := filepath.Glob(filepath.Join(root, "proc/[0-9]*")) // the pattern is well formed
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "statm"))
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(stat))
		if len(f) < 2 {
			continue
		}
		pages, _ := strconv.ParseUint(f[1], 10, 64) // 0 if malformed
		rss := pages * uint64(os.Getpagesize())
		list = append(list, process{rss, fmt.Sprintf("%s (pid %s, %.2f GB)", title(dir), filepath.Base(dir), float64(rss)/(1<<30))})
	}
	slices.SortFunc(list, func(a, b process) int { return cmp.Compare(b.rss, a.rss) })
	var out []string
	for _, p := range list[:min(n, len(list))] {
		out = append(out, p.text)
	}
	return strings.Join(out, ", ")
}

// title is the beginning of a command line, which workers set to what they run;
// kernel threads have only a name.
func title(dir string) string {
	const most = 60
	line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	text := strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
	if text == "" {
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		text = strings.TrimSpace(string(name))
	}
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
