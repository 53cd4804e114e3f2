package statustext

import (
	"strings"
	"testing"
)

func TestMemory(t *testing.T) {
	rows := []Held{
		{ID: "aa", Size: "100", Status: "FINISHED", Reference: "LOCAL_REFERENCE", CallSite: "disabled", Type: "DRIVER", PID: 7, IP: "10.0.0.1"},
		{ID: "bb", Size: "-1", Status: "PENDING_ARGS_AVAIL", Attempt: 1, Reference: "LOCAL_REFERENCE", CallSite: "disabled", Type: "WORKER", PID: 6, IP: "10.0.0.1"},
		{ID: "cc", Size: "3145728", Status: "NIL", Reference: "PINNED_IN_MEMORY", CallSite: "(put object) | x.py:f:3", Type: "WORKER", PID: 6, IP: "10.0.0.2"},
	}
	stores := []ObjectStore{
		{Capacity: 100 << 20, Used: 50 << 20, Objects: 2, Primary: 25 << 20, SpilledTotal: 300 << 20, SpilledObjects: 3, SpillSeconds: 1},
		{Capacity: 100 << 20, Fallback: 5 << 20, FetchesWait: true, SpilledTotal: 100 << 20, SpilledObjects: 1, SpillSeconds: 1},
	}
	o := MemoryOptions{Time: "now"}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	Memory(&b, rows, stores, o)
	want := `
======== Object references status: now ========
Grouping by node address...        Sorting by object size...        Display all entries per group...

--- Summary for node address: 10.0.0.1 ---
100.0 B in 2 objects: 2 local reference

--- Object references for node address: 10.0.0.1 ---
IP Address  PID  Type    Call Site  Status              Attempt  Size     Reference Type   Object Ref
10.0.0.1    7    Driver  disabled   FINISHED            1        100.0 B  LOCAL_REFERENCE  aa
10.0.0.1    6    Worker  disabled   PENDING_ARGS_AVAIL  2        ?        LOCAL_REFERENCE  bb

--- Summary for node address: 10.0.0.2 ---
3145728.0 B in 1 objects: 1 pinned in memory

--- Object references for node address: 10.0.0.2 ---
IP Address  PID  Type    Call Site                Status  Attempt  Size         Reference Type    Object Ref
10.0.0.2    6    Worker  (put object) | x.py:f:3  -       1        3145728.0 B  PINNED_IN_MEMORY  cc

--- Aggregate object store stats across all nodes ---
Plasma memory usage 50 MiB, 2 objects, 25.0% full, 12.5% needed
Plasma filesystem mmap usage: 5 MiB
Spilled 400 MiB, 4 objects, avg write throughput 200 MiB/s
Object fetches queued, waiting for available memory.
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
	b.Reset()
	o.GroupBy, o.Units, o.StatsOnly = "STACK_TRACE", "MB", true
	Memory(&b, rows, nil, o)
	if !strings.Contains(b.String(), "stack trace: (put object) | x.py:f:3 ---\n3.0 MB in 1 objects") || strings.Contains(b.String(), "IP Address") {
		t.Error(b.String())
	}
	for _, wrong := range []MemoryOptions{{GroupBy: "x"}, {SortBy: "x"}, {Units: "x"}} {
		if err := wrong.Check(); err == nil || !strings.Contains(err.Error(), "is not one of") {
			t.Error(err)
		}
	}
}
