package providers

import (
	"slices"
	"sync"
	"time"

	"ray/internal/spec"
)

// Offering is one way to get a machine.
type Offering = spec.Offering

// Wanted says which offerings a node type allows.
type Wanted struct {
	Types, Places  []string
	Spot, Fallback bool // Fallback: if there is no spot, on-demand will do
}

// offerings lists the ways in the order in which they are tried: spot before
// its fallback, types as the file orders them, places in turn. Those that
// lately had no capacity come last.
func (w Wanted) offerings(turn int, scarce func(Offering) bool) []Offering {
	markets := []bool{w.Spot}
	if w.Spot && w.Fallback {
		markets = append(markets, false)
	}
	types, places := w.Types, w.Places
	if len(types) == 0 {
		types = []string{""}
	}
	if len(places) == 0 {
		places = []string{""}
	}
	var good, bad []Offering
	for _, m := range markets {
		for _, t := range types {
			for i := range places {
				o := Offering{Type: t, Place: places[(i+turn)%len(places)], Spot: m}
				if scarce(o) {
					bad = append(bad, o)
				} else {
					good = append(good, o)
				}
			}
		}
	}
	return append(good, bad...)
}

// scarceFor is how long a lack of capacity is remembered.
const scarceFor = 3 * time.Minute

// Offers remembers which offerings lately had no capacity, and whose turn it
// is. The zero value is ready.
type Offers struct {
	mu     sync.Mutex
	scarce map[Offering]time.Time
	turn   int
}

// Plan orders what is wanted for one request. With rotate the places take
// turns from request to request; without, each request begins with the first.
func (f *Offers) Plan(w Wanted, rotate bool, now time.Time) []Offering {
	f.mu.Lock()
	defer f.mu.Unlock()
	turn := 0
	if rotate {
		turn = f.turn
		f.turn++
	}
	return w.offerings(turn, func(o Offering) bool {
		since, ok := f.scarce[o]
		return ok && now.Sub(since) < scarceFor
	})
}

// For orders what is to be tried for a request: as it says, or as Plan does.
func (f *Offers) For(req CreateRequest, w Wanted, rotate bool, now time.Time) []Offering {
	if len(req.Ways) > 0 {
		return slices.Clone(req.Ways)
	}
	return f.Plan(w, rotate, now)
}

// Tell remembers and reports what became of an offering that was asked for.
func (f *Offers) Tell(req CreateRequest, o Offering, err error, now time.Time) {
	if c := CauseOf(err); c == Capacity || c == Quota {
		f.Lacks(o, now)
	}
	req.tried(o, err)
}

// Lacks remembers that an offering has no capacity.
func (f *Offers) Lacks(o Offering, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.scarce == nil {
		f.scarce = map[Offering]time.Time{}
	}
	f.scarce[o] = now
}

// All lists the ways in the file's order, whatever lately had no capacity.
func (w Wanted) All() []Offering { return w.offerings(0, func(Offering) bool { return false }) }

// Rotate begins with another place for each turn: places of one machine type
// and market are equally good, and machines should be spread over them.
func Rotate(ways []Offering, turn int) []Offering {
	var out []Offering
	for at := 0; at < len(ways); {
		end := at + 1
		for end < len(ways) && ways[end].Type == ways[at].Type && ways[end].Spot == ways[at].Spot {
			end++
		}
		first := at + turn%(end-at)
		out = append(append(out, ways[first:end]...), ways[at:first]...)
		at = end
	}
	return out
}
