package wire

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

func drawResources(t *rapid.T, label string) spec.Resources {
	r := spec.Resources{}
	for _, k := range []string{"CPU", "GPU", "memory"} {
		if v := rapid.IntRange(0, 3).Draw(t, label+k); v > 0 {
			r[k] = spec.Fixed(v) * spec.FixedScale
		}
	}
	return r
}

func drawHeartbeat(t *rapid.T) Heartbeat {
	h := Heartbeat{Total: drawResources(t, "total"), Available: drawResources(t, "free"), IdleMS: int64(rapid.IntRange(0, 3).Draw(t, "idle")),
		GroupReserved: drawResources(t, "reserved"), GroupUsed: drawResources(t, "used"), Draining: rapid.Bool().Draw(t, "draining"), Heir: spec.NodeID{rapid.Byte().Draw(t, "heir")}}
	if rapid.Bool().Draw(t, "active") {
		h.Activity = []string{"one task runs"}
	}
	for i := range 3 {
		if n := rapid.IntRange(0, 2).Draw(t, "queued"); n > 0 {
			h.Queue = append(h.Queue, QueueRow{Key: fmt.Sprint(i), Resources: spec.Resources{"CPU": spec.FixedScale}, Queued: n, MeanMicros: int64(n)})
		}
		if b := rapid.IntRange(0, 2).Draw(t, "bandwidth"); b > 0 {
			if h.Bandwidth == nil {
				h.Bandwidth = map[spec.NodeID]float64{}
			}
			h.Bandwidth[spec.NodeID{byte(i)}] = float64(b)
		}
	}
	return h
}

func sameHeartbeat(a, b Heartbeat) bool {
	queue := func(h Heartbeat) map[string]QueueRow {
		m := map[string]QueueRow{}
		for _, q := range h.Queue {
			m[q.Key] = q
		}
		return m
	}
	for _, pair := range [][2]spec.Resources{{a.Total, b.Total}, {a.Available, b.Available}, {a.GroupReserved, b.GroupReserved}, {a.GroupUsed, b.GroupUsed}} {
		if pair[0].Key() != pair[1].Key() {
			return false
		}
	}
	for id, v := range a.Bandwidth { // a sender that is not measured any more is remembered
		if b.Bandwidth[id] != v {
			return false
		}
	}
	return a.IdleMS == b.IdleMS && a.Draining == b.Draining && a.Heir == b.Heir && fmt.Sprint(a.Activity) == fmt.Sprint(b.Activity) && reflect.DeepEqual(queue(a), queue(b))
}

// TestHeartbeatDeltas sends states as deltas: the other side has each of them.
func TestHeartbeatDeltas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sent *Heartbeat
		var have Heartbeat
		for seq := range uint64(rapid.IntRange(1, 6).Draw(t, "beats")) {
			h := drawHeartbeat(t)
			text, err := json.Marshal(h.Since(sent, seq+1))
			if err != nil {
				t.Fatal(err)
			}
			var d HeartbeatDelta
			if err := json.Unmarshal(text, &d); err != nil {
				t.Fatal(err)
			}
			if have = d.On(have); !sameHeartbeat(h, have) {
				t.Fatalf("sent %+v\nas %s\nhave %+v", h, text, have)
			}
			sent = &h
		}
		same := sent.Since(sent, 9)
		if text, _ := json.Marshal(same); len(text) > 80 {
			t.Fatalf("nothing changed, but %s was sent", text)
		}
	})
}
