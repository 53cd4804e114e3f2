package providers

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Offering is one way to get a machine of a cloud: a type of machine in a
// place (a subnet, a zone), on the spot market or not. "" leaves a field to
// the cloud.
type Offering struct {
	Type, Place string
	Spot        bool
}

func (o Offering) String() string {
	market := "on-demand"
	if o.Spot {
		market = "spot"
	}
	return strings.Join(slices.DeleteFunc([]string{o.Type, o.Place, market}, func(s string) bool { return s == "" }), " ")
}

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
				o := Offering{t, places[(i+turn)%len(places)], m}
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

// Lacks remembers that an offering has no capacity.
func (f *Offers) Lacks(o Offering, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.scarce == nil {
		f.scarce = map[Offering]time.Time{}
	}
	f.scarce[o] = now
}
