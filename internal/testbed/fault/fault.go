// Package fault is a list of failures that a made-up cloud has been told to
// have: which calls fail, how often, and with which error. Only the test bed
// and tests may import it.
package fault

import (
	"slices"
	"sync"
)

// Fault is one failure to come.
type Fault struct {
	Action string `json:"action"` // the call, as in RunInstances or insert; "*" is every call
	// Where are parameters that the call must have; none is any call.
	Where   map[string]string `json:"where,omitempty"`
	Code    string            `json:"code"` // the cloud's own
	Message string            `json:"message,omitempty"`
	Status  int               `json:"status,omitempty"` // of HTTP; 0 is what the code usually has
	Count   int               `json:"count,omitempty"`  // how often; 0 is until the list is cleared
	// Lost: the call is made, and its answer gets lost.
	Lost bool `json:"lost,omitempty"`
	// Seconds that the call takes longer; without Code it then is made.
	Seconds float64 `json:"seconds,omitempty"`
}

// List is what is to fail. The zero value is ready.
type List struct {
	mu   sync.Mutex
	list []*Fault
	left map[*Fault]int
	met  []Fault
}

// Add adds a fault.
func (l *List) Add(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == nil {
		l.left = map[*Fault]int{}
	}
	l.list = append(l.list, &f)
	l.left[&f] = f.Count
}

// Met are the faults that calls have met, in order.
func (l *List) Met() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.met)
}

// Clear forgets all faults.
func (l *List) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list, l.left = nil, nil
}

// Take gives the fault that a call meets, nil if it meets none. param gives
// the value of a parameter of the call.
func (l *List) Take(action string, param func(string) string) *Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, f := range l.list {
		if f.Action != "*" && f.Action != action || !f.meets(param) {
			continue
		}
		l.met = append(l.met, *f)
		if f.Count > 0 {
			if l.left[f]--; l.left[f] == 0 {
				l.list = slices.Delete(l.list, at, at+1)
			}
		}
		return f
	}
	return nil
}

func (f *Fault) meets(param func(string) string) bool {
	for k, v := range f.Where {
		if param(k) != v {
			return false
		}
	}
	return true
}
