package transfer

import (
	"maps"
	"math"
	"time"

	"ray/internal/spec"
)

const (
	// measureFrom is the size in bytes from which a fetch says something about
	// the way rather than about its beginning.
	measureFrom = 1 << 20
	// maxRates bounds how many peers are remembered.
	maxRates = 64
)

// measure takes a finished fetch into the mean rate from a node.
func (f *Fetcher) measure(node spec.NodeID, size uint64, took time.Duration) {
	if size < measureFrom || took <= 0 {
		return
	}
	rate := float64(size) / took.Seconds()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rates == nil || len(f.rates) >= maxRates && f.rates[node] == 0 {
		f.rates = map[spec.NodeID]float64{}
	}
	if old := f.rates[node]; old > 0 {
		rate = old + (rate-old)/4
	}
	f.rates[node] = rate
}

// Rates are the measured bytes per second from other nodes, in steps of a
// tenth, so that they change when there is something to tell. Nil if nothing
// was measured.
func (f *Fetcher) Rates() map[spec.NodeID]float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := maps.Clone(f.rates)
	for id, r := range out {
		out[id] = math.Round(math.Pow(1.1, math.Round(math.Log(r)/math.Log(1.1))))
	}
	return out
}
