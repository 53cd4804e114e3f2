package spec

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Fixed is a resource amount in units of 1/10000, so that sums of fractions
// stay exact (upstream's scale; it adds in floating point and drifts).
type Fixed int64

// FixedScale is how many Fixed units make one whole.
const FixedScale = 10000

// ToFixed rounds a plain amount to the nearest unit; what is larger than any
// machine has becomes the largest amount.
func ToFixed(f float64) Fixed {
	return Fixed(math.Round(max(-mostFixed, min(f*FixedScale, mostFixed))))
}

// mostFixed, 2^62 units, is 461 TB of memory; a float64 holds it exactly.
const mostFixed = 1 << 62

// plus is a + b, at most the largest amount there is.
func plus(a, b Fixed) Fixed {
	s := a + b
	switch {
	case b > 0 && s < a:
		return math.MaxInt64
	case b < 0 && s > a:
		return math.MinInt64
	}
	return s
}

// Float is the amount as a plain number.
func (f Fixed) Float() float64 { return float64(f) / FixedScale }

// String prints the amount without trailing zeros.
func (f Fixed) String() string { return strconv.FormatFloat(f.Float(), 'f', -1, 64) }

// MarshalJSON writes the plain number.
func (f Fixed) MarshalJSON() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalJSON reads a plain number.
func (f *Fixed) UnmarshalJSON(b []byte) error {
	var v float64
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("resource amount: %w", err)
	}
	*f = ToFixed(v)
	return nil
}

// Names of the resources that the system itself knows.
const (
	CPU               = "CPU"
	GPU               = "GPU"
	Memory            = "memory"              // bytes
	ObjectStoreMemory = "object_store_memory" // bytes
	HeadResource      = "node:__internal_head__"
)

// Resources maps a resource name to an amount. A missing name is zero; nil is
// empty. In JSON the amounts are plain numbers. Values are never shared
// between owners: Clone before you keep and change one.
type Resources map[string]Fixed

// FromFloats converts plain amounts; zero amounts are left out.
func FromFloats(m map[string]float64) Resources {
	r := make(Resources, len(m))
	for k, v := range m {
		if a := ToFixed(v); a != 0 {
			r[k] = a
		}
	}
	return r
}

// Clone copies r.
func (r Resources) Clone() Resources { return maps.Clone(r) }

// Add adds o to r in place.
func (r Resources) Add(o Resources) {
	for k, v := range o {
		r[k] = plus(r[k], v)
	}
}

// Sub takes o from r in place; amounts may go below zero.
func (r Resources) Sub(o Resources) {
	for k, v := range o {
		r[k] = plus(r[k], -v)
	}
}

// Fits tells whether every positive amount of need is there in r.
func (r Resources) Fits(need Resources) bool {
	for k, v := range need {
		if v > 0 && r[k] < v {
			return false
		}
	}
	return true
}

// Times is how often need is in r; the largest int if it is nothing.
func (r Resources) Times(need Resources) int {
	times := math.MaxInt
	for name, n := range need {
		if n > 0 {
			times = min(times, max(0, int(r[name]/n)))
		}
	}
	return times
}

// Lacks names the resources of which r has less than need, sorted.
func (r Resources) Lacks(need Resources) []string {
	var out []string
	for k, v := range need {
		if v > 0 && r[k] < v {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// IsEmpty tells whether no amount is above zero.
func (r Resources) IsEmpty() bool {
	for _, v := range r {
		if v > 0 {
			return false
		}
	}
	return true
}

// Names are the resource names, sorted.
func (r Resources) Names() []string { return slices.Sorted(maps.Keys(r)) }

// Key is a canonical text of r, equal for equal contents; for map keys.
func (r Resources) Key() string {
	var b strings.Builder
	for _, k := range r.Names() {
		if r[k] != 0 {
			fmt.Fprintf(&b, "%s=%d;", k, r[k])
		}
	}
	return b.String()
}

// String prints r as upstream's status does: {'CPU': 1.0, 'GPU': 2.0}.
func (r Resources) String() string {
	var parts []string
	for _, k := range r.Names() {
		v := strconv.FormatFloat(r[k].Float(), 'f', -1, 64)
		if !strings.Contains(v, ".") {
			v += ".0"
		}
		parts = append(parts, fmt.Sprintf("'%s': %s", k, v))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// Floats converts to plain amounts.
func (r Resources) Floats() map[string]float64 {
	m := make(map[string]float64, len(r))
	for k, v := range r {
		m[k] = v.Float()
	}
	return m
}
