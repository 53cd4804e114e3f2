package pool

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ray/internal/spec"
)

// ledger counts the node's resources. Names are interned so that the hot path
// works on small vectors.
type ledger struct {
	index map[string]int
	names []string
	// lasting is how many classes count with a name; free are the indexes of
	// names that nothing uses any more (of bundles that are gone).
	lasting []int
	free    []int
	total   []spec.Fixed
	avail   []spec.Fixed
	// devices of each GPU pool: "GPU", and the GPU_group_… names of bundles.
	devices map[string][]device
}

type device struct {
	id   int
	free spec.Fixed
}

type amount struct {
	index int
	n     spec.Fixed
}

// taken is what one lease holds.
type taken struct {
	need []amount
	gpus []deviceShare
}

type deviceShare struct {
	pool string
	id   int
	n    spec.Fixed
}

func newLedger(total spec.Resources) *ledger {
	l := &ledger{index: map[string]int{}, devices: map[string][]device{}}
	for _, name := range total.Names() {
		l.change(name, total[name])
	}
	for i := range int(total[spec.GPU] / spec.FixedScale) {
		l.devices[spec.GPU] = append(l.devices[spec.GPU], device{i, spec.FixedScale})
	}
	return l
}

func (l *ledger) intern(name string) int {
	i, ok := l.index[name]
	if ok {
		return i
	}
	if n := len(l.free); n > 0 {
		i = l.free[n-1]
		l.free = l.free[:n-1]
		l.names[i] = name
	} else {
		i = len(l.names)
		l.names = append(l.names, name)
		l.total = append(l.total, 0)
		l.avail = append(l.avail, 0)
		l.lasting = append(l.lasting, 0)
	}
	l.index[name] = i
	return i
}

// forget gives up a name of which there is nothing left, unless it is lasting.
func (l *ledger) forget(name string) {
	i, ok := l.index[name]
	if !ok || l.lasting[i] > 0 || l.total[i] != 0 || l.avail[i] != 0 {
		return
	}
	delete(l.index, name)
	l.names[i] = ""
	l.free = append(l.free, i)
}

// keep makes the names of a class lasting: its tasks and leases hold their indexes.
func (l *ledger) keep(need []amount) []amount {
	for _, a := range need {
		l.lasting[a.index]++
	}
	return need
}

// release ends what keep began.
func (l *ledger) release(need []amount) {
	for _, a := range need {
		l.lasting[a.index]--
		l.forget(l.names[a.index])
	}
}

func (l *ledger) change(name string, by spec.Fixed) {
	i := l.intern(name)
	l.total[i] += by
	l.avail[i] += by
}

func (l *ledger) amounts(r spec.Resources) []amount {
	var out []amount
	for _, name := range r.Names() {
		if r[name] > 0 {
			out = append(out, amount{l.intern(name), r[name]})
		}
	}
	return out
}

func (l *ledger) fits(need []amount) bool {
	for _, a := range need {
		if l.avail[a.index] < a.n {
			return false
		}
	}
	return true
}

func (l *ledger) feasible(need []amount) bool {
	for _, a := range need {
		if l.total[a.index] < a.n {
			return false
		}
	}
	return true
}

// take subtracts need and chooses GPU devices; false if the devices do not
// allow it (fractions that are free on different ones).
func (l *ledger) take(need []amount) (taken, bool) {
	t := taken{need: need}
	for _, a := range need {
		name := l.names[a.index]
		if !isGPU(name) || (isWildcardGPU(name) && l.hasIndexed(need)) {
			continue
		}
		shares, ok := l.choose(name, a.n)
		if !ok {
			l.giveDevices(t.gpus)
			return taken{}, false
		}
		t.gpus = append(t.gpus, shares...)
	}
	for _, a := range need {
		l.avail[a.index] -= a.n
	}
	return t, true
}

func (l *ledger) give(t taken) {
	for _, a := range t.need {
		l.avail[a.index] += a.n
	}
	l.giveDevices(t.gpus)
}

func (l *ledger) giveDevices(shares []deviceShare) {
	for _, s := range shares {
		ds := l.devices[s.pool]
		for i := range ds {
			if ds[i].id == s.id {
				ds[i].free += s.n
			}
		}
	}
}

func isGPU(name string) bool {
	return name == spec.GPU || strings.HasPrefix(name, "GPU_group_")
}

// isWildcardGPU: GPU_group_<pg> without a bundle index.
func isWildcardGPU(name string) bool {
	return strings.HasPrefix(name, "GPU_group_") && strings.Count(name, "_") == 2
}

func (l *ledger) hasIndexed(need []amount) bool {
	return slices.ContainsFunc(need, func(a amount) bool {
		n := l.names[a.index]
		return strings.HasPrefix(n, "GPU_group_") && !isWildcardGPU(n)
	})
}

// pools are the device pools that a GPU resource name may draw from.
func (l *ledger) pools(name string) []string {
	if !isWildcardGPU(name) {
		return []string{name}
	}
	pg := strings.TrimPrefix(name, "GPU_group_")
	var out []string
	for p := range l.devices {
		if strings.HasPrefix(p, "GPU_group_") && strings.HasSuffix(p, "_"+pg) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// choose takes n of the devices behind name: whole devices, or a share of the
// fullest one that still has room.
func (l *ledger) choose(name string, n spec.Fixed) (out []deviceShare, ok bool) {
	if n >= spec.FixedScale {
		for _, p := range l.pools(name) {
			ds := l.devices[p]
			for i := range ds {
				if n >= spec.FixedScale && ds[i].free >= spec.FixedScale {
					ds[i].free -= spec.FixedScale
					n -= spec.FixedScale
					out = append(out, deviceShare{p, ds[i].id, spec.FixedScale})
				}
			}
		}
		if n > 0 {
			l.giveDevices(out)
			return nil, false
		}
		return out, true
	}
	var best *device
	var from string
	for _, p := range l.pools(name) {
		ds := l.devices[p]
		for i := range ds {
			if d := &ds[i]; d.free >= n && (best == nil || d.free < best.free) {
				best, from = d, p
			}
		}
	}
	if best == nil {
		return nil, false
	}
	best.free -= n
	return []deviceShare{{from, best.id, n}}, true
}

func gpuIDs(shares []deviceShare) []string {
	out := make([]string, 0, len(shares))
	for _, s := range shares {
		out = append(out, strconv.Itoa(s.id))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (l *ledger) asMap(v []spec.Fixed) spec.Resources {
	out := make(spec.Resources, len(l.index))
	for i, n := range v {
		if l.total[i] > 0 {
			out[l.names[i]] = max(n, 0)
		}
	}
	return out
}

// GroupResources rewrites a task's resources for a placement group: they are
// taken from the group's formatted resources, of one bundle or (-1) of any.
func GroupResources(r spec.Resources, pg spec.PlacementGroupID, bundle int) spec.Resources {
	out := spec.Resources{}
	hex := pg.String()
	for name, n := range r {
		if n <= 0 {
			continue
		}
		out[name+"_group_"+hex] = n
		if bundle >= 0 {
			out[fmt.Sprintf("%s_group_%d_%s", name, bundle, hex)] = n
		}
	}
	out["bundle_group_"+hex] = 10
	if bundle >= 0 {
		out[fmt.Sprintf("bundle_group_%d_%s", bundle, hex)] = 10
	}
	return out
}

// bundleOffer is what a committed bundle adds to the node.
func bundleOffer(b Bundle) spec.Resources {
	out := spec.Resources{}
	hex := b.Group.String()
	for name, n := range b.Resources {
		out[name+"_group_"+hex] += n
		out[fmt.Sprintf("%s_group_%d_%s", name, b.Index, hex)] += n
	}
	out["bundle_group_"+hex] += 1000 * spec.FixedScale
	out[fmt.Sprintf("bundle_group_%d_%s", b.Index, hex)] += 1000 * spec.FixedScale
	return out
}
