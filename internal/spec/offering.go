package spec

import (
	"slices"
	"strings"
)

// Offering is one way to get a machine of a node type from a cloud: a type of
// machine in a place (a subnet, a zone), on the spot market or not. "" leaves a
// field to the cloud.
type Offering struct {
	Type  string `json:"type,omitempty"`
	Place string `json:"place,omitempty"`
	Spot  bool   `json:"spot,omitempty"`
}

func (o Offering) String() string {
	market := "on-demand"
	if o.Spot {
		market = "spot"
	}
	return strings.Join(slices.DeleteFunc([]string{o.Type, o.Place, market}, func(s string) bool { return s == "" }), " ")
}

// AutoStop is the countdown to the end of a whole cluster that nobody uses.
type AutoStop struct {
	Action string `json:"action"`
	IdleMS int64  `json:"idle_ms"`         // how long nothing must run
	AtMS   int64  `json:"at_ms,omitempty"` // when it ends if nothing comes; 0 while something runs
}

// Backoff is something that is not to be asked for before a time, after it
// could not be had.
type Backoff struct {
	What    string `json:"what"` // a node type, or an offering as Offering.String writes it
	UntilMS int64  `json:"until_ms"`
	Reason  string `json:"reason"`
}
