package pool

import (
	"cmp"
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
	// kinds tell of each name which devices it counts.
	kinds []deviceKind
	// devices of each pool: "GPU" and the like, and the GPU_group_… names of bundles.
	devices map[string][]device
}

// deviceKind is the family of devices that a name counts, "" for none; group
// is set in a placement group: its id, for one bundle with the index before it.
type deviceKind struct{ family, group string }

func (k deviceKind) wildcard() bool { return k.group != "" && !strings.Contains(k.group, "_") }

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
	need    []amount
	devices []deviceShare
}

type deviceShare struct {
	family string
	pool   string
	id     int
	n      spec.Fixed
}

func newLedger(total spec.Resources) *ledger {
	l := &ledger{index: map[string]int{}, devices: map[string][]device{}}
	for _, name := range total.Names() {
		l.change(name, total[name])
	}
	for _, family := range spec.DeviceFamilies {
		for i := range int(total[family] / spec.FixedScale) {
			l.devices[family] = append(l.devices[family], device{i, spec.FixedScale})
		}
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
		l.kinds[i] = kindOf(name)
	} else {
		i = len(l.names)
		l.names = append(l.names, name)
		l.kinds = append(l.kinds, kindOf(name))
		l.total = append(l.total, 0)
		l.avail = append(l.avail, 0)
		l.lasting = append(l.lasting, 0)
	}
	l.index[name] = i
	return i
}

func kindOf(name string) deviceKind {
	family, group := spec.DeviceFamily(name)
	return deviceKind{family, group}
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

// take subtracts need and chooses devices; false if the devices do not
// allow it (fractions that are free on different ones).
func (l *ledger) take(need []amount) (taken, bool) {
	t := taken{need: need}
	for _, a := range need {
		kind := l.kinds[a.index]
		if kind.family == "" || (kind.wildcard() && l.hasIndexed(need, kind.family)) {
			continue
		}
		shares, ok := l.choose(l.names[a.index], kind, a.n)
		if !ok {
			l.giveDevices(t.devices)
			return taken{}, false
		}
		t.devices = append(t.devices, shares...)
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
	l.giveDevices(t.devices)
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

func (l *ledger) hasIndexed(need []amount, family string) bool {
	return slices.ContainsFunc(need, func(a amount) bool {
		k := l.kinds[a.index]
		return k.family == family && k.group != "" && !k.wildcard()
	})
}

// pools are the device pools that a resource name may draw from.
func (l *ledger) pools(name string, kind deviceKind) []string {
	if !kind.wildcard() {
		return []string{name}
	}
	var out []string
	for p := range l.devices {
		if strings.HasPrefix(p, kind.family+"_group_") && strings.HasSuffix(p, "_"+kind.group) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// choose takes n of the devices behind name: whole devices, or a share of the
// fullest one that still has room.
func (l *ledger) choose(name string, kind deviceKind, n spec.Fixed) (out []deviceShare, ok bool) {
	if n >= spec.FixedScale {
		for _, p := range l.pools(name, kind) {
			ds := l.devices[p]
			for i := range ds {
				if n >= spec.FixedScale && ds[i].free >= spec.FixedScale {
					ds[i].free -= spec.FixedScale
					n -= spec.FixedScale
					out = append(out, deviceShare{kind.family, p, ds[i].id, spec.FixedScale})
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
	for _, p := range l.pools(name, kind) {
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
	return []deviceShare{{kind.family, from, best.id, n}}, true
}

// deviceIDs are the numbers of the devices, by family.
func deviceIDs(shares []deviceShare) map[string][]string {
	out := map[string][]string{}
	for _, s := range shares {
		if id := strconv.Itoa(s.id); !slices.Contains(out[s.family], id) {
			out[s.family] = append(out[s.family], id)
		}
	}
	for _, ids := range out {
		slices.SortFunc(ids, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) // 2 before 10
	}
	return out
}

// deviceKey is the same for the same devices.
func deviceKey(shares []deviceShare) string {
	var keys []string
	for _, s := range shares {
		keys = append(keys, s.family+strconv.Itoa(s.id))
	}
	slices.Sort(keys)
	return strings.Join(slices.Compact(keys), ",")
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
