package metrics

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Kinds of a Record.
const (
	Counter   = "counter"
	Gauge     = "gauge"
	Histogram = "histogram"
)

// Record is what a program did with one metric and one set of tags since its
// last push: amounts for counters and histograms, the last value for gauges.
type Record struct {
	Name        string            `json:"name"`
	Kind        string            `json:"kind"`
	Description string            `json:"description"`
	Tags        map[string]string `json:"tags"`
	Value       float64           `json:"value"`
	// Of histograms: upper bounds of the buckets, how many values fell into
	// each (one more than bounds, not cumulative), their sum and count.
	Boundaries []float64 `json:"boundaries"`
	Counts     []float64 `json:"counts"`
	Sum        float64   `json:"sum"`
	Count      float64   `json:"count"`
}

// maxSeries bounds the memory that programs can take with ever new tags.
const maxSeries = 50_000

// Registry sums records. Safe for concurrent use.
type Registry struct {
	mu       sync.Mutex
	families map[string]*family
	series   int
}

// family is all series of one metric.
type family struct {
	kind, help string
	bounds     []float64
	series     map[string]*series // by their labels, as written
}

type series struct {
	value      float64
	counts     []float64
	sum, count float64
}

// Add takes records in. A record that contradicts what is known of its metric
// (another kind, other bounds) or has no valid name is refused; the others count.
func (r *Registry) Add(records ...Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var first error
	for i := range records {
		if err := r.add(&records[i]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (r *Registry) add(rec *Record) error {
	if rec.Kind != Counter && rec.Kind != Gauge && rec.Kind != Histogram {
		return fmt.Errorf("metric %q: unknown kind %q", rec.Name, rec.Kind)
	}
	if !validName(rec.Name) {
		return fmt.Errorf("metric %q: a name has letters, digits, '_' and ':' only and begins with no digit", rec.Name)
	}
	f := r.families[rec.Name]
	if f == nil {
		f = &family{kind: rec.Kind, help: rec.Description, bounds: rec.Boundaries, series: map[string]*series{}}
	}
	if f.kind != rec.Kind || rec.Kind == Histogram && !slices.Equal(f.bounds, rec.Boundaries) {
		return fmt.Errorf("metric %q is a %s with bounds %v here and a %s with %v there", rec.Name, f.kind, f.bounds, rec.Kind, rec.Boundaries)
	}
	if rec.Kind == Histogram && len(rec.Counts) != len(f.bounds)+1 {
		return fmt.Errorf("metric %q: %d counts for %d bounds", rec.Name, len(rec.Counts), len(f.bounds))
	}
	labels := labelText(rec.Tags)
	s := f.series[labels]
	if s == nil {
		if r.series >= maxSeries {
			return fmt.Errorf("metric %q: over %d different sets of tags on this node; use tags with fewer values", rec.Name, maxSeries)
		}
		r.series++
		s = &series{counts: make([]float64, len(rec.Counts))}
		f.series[labels] = s
	}
	if r.families == nil {
		r.families = map[string]*family{}
	}
	r.families[rec.Name] = f
	switch rec.Kind {
	case Counter:
		s.value += rec.Value
	case Gauge:
		s.value = rec.Value
	case Histogram:
		for i, n := range rec.Counts {
			s.counts[i] += n
		}
		s.sum += rec.Sum
		s.count += rec.Count
	}
	return nil
}

func validName(name string) bool {
	for i, c := range name {
		letter := c == '_' || c == ':' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// Write prints every metric as Prometheus text, names prefixed by "ray_" and
// common added to the labels of each series.
func (r *Registry) Write(w io.Writer, common map[string]string) error {
	base := labelText(common)
	var b strings.Builder
	r.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(r.families)) {
		r.families[name].write(&b, "ray_"+name, base)
	}
	r.mu.Unlock()
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *family) write(b *strings.Builder, name, base string) {
	if f.kind == Counter {
		name += "_total"
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, escape(f.help), name, f.kind)
	for _, labels := range slices.Sorted(maps.Keys(f.series)) {
		s := f.series[labels]
		own := join(base, labels)
		if f.kind != Histogram {
			fmt.Fprintf(b, "%s{%s} %s\n", name, own, number(s.value))
			continue
		}
		sum := 0.0
		for i, n := range s.counts {
			sum += n
			bound := math.Inf(1)
			if i < len(f.bounds) {
				bound = f.bounds[i]
			}
			fmt.Fprintf(b, "%s_bucket{%s} %s\n", name, join(own, `le="`+number(bound)+`"`), number(sum))
		}
		fmt.Fprintf(b, "%s_sum{%s} %s\n%s_count{%s} %s\n", name, own, number(s.sum), name, own, number(s.count))
	}
}

func labelText(tags map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		parts = append(parts, k+`="`+escape(tags[k])+`"`)
	}
	return strings.Join(parts, ",")
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "," + b
}

var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func escape(s string) string { return escaper.Replace(s) }

// number prints as Prometheus' Python client does, which upstream uses: 1.0, +Inf.
func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}
