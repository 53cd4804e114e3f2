package statustext

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Held is a row of the state API's objects: a reference of a process.
type Held struct {
	ID        string      `json:"object_id"`
	Size      json.Number `json:"object_size"` // bytes; below 0: not known
	Status    string      `json:"task_status"`
	Attempt   int         `json:"attempt_number"`
	Reference string      `json:"reference_type"`
	CallSite  string      `json:"call_site"`
	Type      string      `json:"type"`
	PID       int         `json:"pid"`
	IP        string      `json:"ip"`
}

// Bytes is the size, 0 where that is not known.
func (h Held) Bytes() float64 { v, _ := h.Size.Float64(); return max(v, 0) }

// ObjectStore is a row of the state API's object_stores, in bytes and seconds.
type ObjectStore struct {
	Capacity        float64 `json:"capacity"`
	Used            float64 `json:"used"`
	Objects         int     `json:"objects"`
	Primary         float64 `json:"primary"`
	Fallback        float64 `json:"fallback"`
	SpilledTotal    float64 `json:"spilled_total"`
	SpilledObjects  int     `json:"spilled_objects_total"`
	SpillSeconds    float64 `json:"spill_seconds"`
	RestoredTotal   float64 `json:"restored_total"`
	RestoredObjects int     `json:"restored_objects_total"`
	RestoreSeconds  float64 `json:"restore_seconds"`
	FetchesWait     bool    `json:"fetches_wait"` // for room
}

// MemoryOptions choose what is printed of objects. The zero value of each word
// is upstream's default.
type MemoryOptions struct {
	GroupBy   string `json:"group_by"` // NODE_ADDRESS or STACK_TRACE
	SortBy    string `json:"sort_by"`  // OBJECT_SIZE, PID or REFERENCE_TYPE
	Units     string `json:"units"`    // B, KB, MB or GB
	StatsOnly bool   `json:"stats_only"`
	Entries   int    `json:"num_entries"` // at most so many of each group; 0: all
	Time      string `json:"-"`           // of the rows
}

var units = map[string]float64{"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}

var memoryGroups = map[string]func(Held) string{
	"NODE_ADDRESS": func(h Held) string { return h.IP },
	"STACK_TRACE":  func(h Held) string { return h.CallSite },
}

var memoryOrders = map[string]func(a, b Held) int{
	"OBJECT_SIZE":    func(a, b Held) int { return cmp.Compare(b.Bytes(), a.Bytes()) },
	"PID":            func(a, b Held) int { return cmp.Compare(a.PID, b.PID) },
	"REFERENCE_TYPE": func(a, b Held) int { return strings.Compare(a.Reference, b.Reference) },
}

// Check fills in the defaults. Its error names the option, as flags are written, and its values.
func (o *MemoryOptions) Check() error {
	o.GroupBy = strings.ToUpper(cmp.Or(o.GroupBy, "NODE_ADDRESS"))
	o.SortBy = strings.ToUpper(cmp.Or(o.SortBy, "OBJECT_SIZE"))
	o.Units = cmp.Or(o.Units, "B")
	wrong := func(flag, value, all string) error {
		//lint:ignore ST1005 upstream prints these words
		return fmt.Errorf("Invalid value for '--%s': '%s' is not one of %s.", flag, value, all)
	}
	switch {
	case memoryGroups[o.GroupBy] == nil:
		return wrong("group-by", o.GroupBy, "'NODE_ADDRESS', 'STACK_TRACE'")
	case memoryOrders[o.SortBy] == nil:
		return wrong("sort-by", o.SortBy, "'PID', 'OBJECT_SIZE', 'REFERENCE_TYPE'")
	case units[o.Units] == 0:
		return wrong("units", o.Units, "'B', 'KB', 'MB', 'GB'")
	}
	return nil
}

// Memory prints who holds which objects, then what the object stores hold. The
// options have been checked.
func Memory(out io.Writer, rows []Held, stores []ObjectStore, o MemoryOptions) {
	kind, order := words(o.GroupBy), words(o.SortBy)
	_, _ = fmt.Fprintf(out, "\n======== Object references status: %s ========\nGrouping by %s...        Sorting by %s...        Display all entries per group...\n\n", o.Time, kind, order)
	groups := map[string][]Held{}
	for _, h := range rows {
		name := memoryGroups[o.GroupBy](h)
		groups[name] = append(groups[name], h)
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		o.group(out, kind, name, groups[name])
	}
	_, _ = io.WriteString(out, Stores(stores))
}

func words(option string) string { return strings.ToLower(strings.ReplaceAll(option, "_", " ")) }

func (o MemoryOptions) group(out io.Writer, kind, name string, rows []Held) {
	total, kinds := 0.0, map[string]int{}
	for _, h := range rows {
		total += h.Bytes()
		kinds[h.Reference]++
	}
	_, _ = fmt.Fprintf(out, "--- Summary for %s: %s ---\n%s in %d objects:", kind, name, o.size(total), len(rows))
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		_, _ = fmt.Fprintf(out, " %d %s", kinds[k], words(k))
	}
	_, _ = fmt.Fprint(out, "\n\n")
	if o.StatsOnly {
		return
	}
	slices.SortStableFunc(rows, memoryOrders[o.SortBy])
	if o.Entries > 0 && len(rows) > o.Entries {
		rows = rows[:o.Entries]
	}
	_, _ = fmt.Fprintf(out, "--- Object references for %s: %s ---\n", kind, name)
	lines := [][]string{{"IP Address", "PID", "Type", "Call Site", "Status", "Attempt", "Size", "Reference Type", "Object Ref"}}
	for _, h := range rows {
		size, status := "?", h.Status
		if v, err := h.Size.Float64(); err == nil && v >= 0 {
			size = o.size(v)
		}
		if status == "NIL" {
			status = "-"
		}
		typ := h.Type
		if len(typ) > 1 {
			typ = typ[:1] + strings.ToLower(typ[1:])
		}
		lines = append(lines, []string{h.IP, strconv.Itoa(h.PID), typ, h.CallSite, status, strconv.Itoa(h.Attempt + 1), size, h.Reference, h.ID})
	}
	columns(out, lines)
	_, _ = fmt.Fprintln(out)
}

// columns prints lines of cells below each other.
func columns(out io.Writer, lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			b.WriteString(cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
		}
		_, _ = fmt.Fprintln(out, strings.TrimRight(b.String(), " "))
	}
}

func (o MemoryOptions) size(bytes float64) string {
	return fmt.Sprintf("%.1f %s", bytes/units[o.Units], o.Units)
}

// Stores prints what the object stores of all nodes hold and have done.
func Stores(stores []ObjectStore) string {
	var s ObjectStore
	for _, n := range stores {
		s.Capacity, s.Used, s.Primary, s.Fallback = s.Capacity+n.Capacity, s.Used+n.Used, s.Primary+n.Primary, s.Fallback+n.Fallback
		s.SpilledTotal, s.SpillSeconds, s.SpilledObjects = s.SpilledTotal+n.SpilledTotal, s.SpillSeconds+n.SpillSeconds, s.SpilledObjects+n.SpilledObjects
		s.RestoredTotal, s.RestoreSeconds, s.RestoredObjects = s.RestoredTotal+n.RestoredTotal, s.RestoreSeconds+n.RestoreSeconds, s.RestoredObjects+n.RestoredObjects
		s.Objects, s.FetchesWait = s.Objects+n.Objects, s.FetchesWait || n.FetchesWait
	}
	const mib = 1 << 20
	percent := func(v float64) string {
		text := strconv.FormatFloat(math.Round(1e4*v/max(s.Capacity, 1))/100, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	}
	var b strings.Builder
	b.WriteString("--- Aggregate object store stats across all nodes ---\n")
	_, _ = fmt.Fprintf(&b, "Plasma memory usage %d MiB, %d objects, %s%% full, %s%% needed\n", int(s.Used/mib), s.Objects, percent(s.Used), percent(s.Primary))
	if s.Fallback > 0 {
		_, _ = fmt.Fprintf(&b, "Plasma filesystem mmap usage: %d MiB\n", int(s.Fallback/mib))
	}
	moved := func(what, way string, bytes, seconds float64, objects int) {
		if objects > 0 {
			_, _ = fmt.Fprintf(&b, "%s %d MiB, %d objects, avg %s throughput %d MiB/s\n", what, int(bytes/mib), objects, way, int(bytes/mib/max(seconds, 1e-6)))
		}
	}
	moved("Spilled", "write", s.SpilledTotal, s.SpillSeconds, s.SpilledObjects)
	moved("Restored", "read", s.RestoredTotal, s.RestoreSeconds, s.RestoredObjects)
	if s.FetchesWait {
		b.WriteString("Object fetches queued, waiting for available memory.\n")
	}
	return b.String()
}
