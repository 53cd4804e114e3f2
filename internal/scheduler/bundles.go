package scheduler

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"ray/internal/spec"
)

// BundleRequest asks for nodes for the bundles of a group.
type BundleRequest struct {
	Bundles  []spec.Resources
	Labels   []map[string]string // of each bundle; nil = none
	Strategy string
	SoftNode spec.NodeID // STRICT_PACK: tried first
	// Fixed holds the node of each bundle that has one already; zero = wanted.
	Fixed []spec.NodeID
}

// PlaceBundles finds a node for every bundle without one, all or none, and
// takes them off the snapshot. Without a plan, reason says why, and
// infeasible that no plan would exist even if all nodes were free.
func (c *Cluster) PlaceBundles(req BundleRequest) (plan []spec.NodeID, reason string, infeasible bool) {
	key := ""
	if len(c.failed) > 0 {
		key = req.key()
		if f, ok := c.failed[key]; ok && f.changed == c.changed {
			return nil, f.reason, f.infeasible // asked before, and nothing has become free
		}
	}
	for _, nodes := range c.samples() {
		b := newBundler(nodes, req, false)
		if !b.solve() {
			continue
		}
		for i, n := range b.plan {
			if n != nil && !b.fixed(i) {
				c.take(n.real, req.Bundles[i], 1, 0)
			}
		}
		return b.ids(), "", false
	}
	f := failedGroup{changed: c.changed, reason: "the nodes that could hold its bundles are busy"}
	if empty := newBundler(c.all(), req, true); !empty.solve() {
		f.reason, f.infeasible = empty.why(), true
	}
	if len(c.failed) > maxShapes {
		clear(c.failed)
	}
	c.failed[cmp.Or(key, req.key())] = f
	return nil, f.reason, f.infeasible
}

// failedGroup remembers what was said of a request when nothing had changed since.
type failedGroup struct {
	changed    int
	reason     string
	infeasible bool
}

func (r *BundleRequest) key() string {
	text, _ := json.Marshal(r) // plain values
	return string(text)
}

// sampleSize is how many nodes a group is tried on before all are looked at.
const sampleSize = 128

// samples are the sets of nodes to try in turn: in a large cluster some that
// follow each other, from another place each time, then all.
func (c *Cluster) samples() [][]*Node {
	if len(c.slots) < 4*sampleSize {
		return [][]*Node{c.all()}
	}
	var some []*Node
	for range sampleSize {
		c.window = (c.window + 1) % len(c.slots)
		if n := c.slots[c.window]; n != nil {
			some = append(some, n)
		}
	}
	return [][]*Node{some, c.all()}
}

func (c *Cluster) all() []*Node {
	return slices.DeleteFunc(slices.Clone(c.slots), func(n *Node) bool { return n == nil })
}

// slot is a node with what is left of it during the search.
type slot struct {
	real *Node
	free spec.Resources
	own  bool // free is this slot's own copy
	held int  // bundles of this group
	used float64
}

type bundler struct {
	req   BundleRequest
	slots []*slot
	plan  []*slot
}

func newBundler(nodes []*Node, req BundleRequest, empty bool) *bundler {
	b := &bundler{req: req, plan: make([]*slot, len(req.Bundles)), slots: make([]*slot, 0, len(nodes))}
	for _, n := range nodes {
		if n.Draining {
			continue
		}
		s := &slot{real: n, free: n.Available}
		if empty {
			s.free = n.Total
		}
		if req.Strategy == spec.Spread {
			s.used, _ = n.utilisation(nil)
		}
		b.slots = append(b.slots, s)
	}
	for i := range req.Bundles {
		for _, s := range b.slots {
			if b.fixed(i) && s.real.ID == req.Fixed[i] {
				b.plan[i] = s
				s.held++
			}
		}
	}
	return b
}

func (b *bundler) fixed(i int) bool { return len(b.req.Fixed) > i && !b.req.Fixed[i].IsZero() }

// wanted are the bundles to place, largest first.
func (b *bundler) wanted() []int {
	var out []int
	for i := range b.req.Bundles {
		if !b.fixed(i) {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(x, y int) int { return cmp.Compare(b.size(y), b.size(x)) })
	return out
}

// size compares bundles: GPUs count most, then the sum of the rest.
func (b *bundler) size(i int) float64 {
	total := 0.0
	for k, v := range b.req.Bundles[i] {
		switch k {
		case spec.Memory, spec.ObjectStoreMemory:
			total += v.Float() / (1 << 30)
		case spec.GPU:
			total += 1e6 * v.Float()
		default:
			total += v.Float()
		}
	}
	return total
}

func (b *bundler) allows(s *slot, i int) bool {
	if len(b.req.Labels) > i {
		if _, ok := matchAll(s.real.Labels, b.req.Labels[i]); !ok {
			return false
		}
	}
	return s.free.Fits(b.req.Bundles[i])
}

func (b *bundler) put(s *slot, i int) {
	if !s.own {
		s.own = true
		if s.free = s.free.Clone(); s.free == nil {
			s.free = spec.Resources{}
		}
	}
	s.free.Sub(b.req.Bundles[i])
	s.held++
	b.plan[i] = s
}

func (b *bundler) solve() bool {
	switch b.req.Strategy {
	case spec.StrictPack:
		return b.onOne()
	case spec.StrictSpread:
		return b.apart()
	case spec.Spread:
		return b.each(func(x, y *slot) int {
			return cmp.Or(cmp.Compare(x.held, y.held), cmp.Compare(x.used, y.used))
		})
	default:
		return b.onOne() || b.each(func(x, y *slot) int {
			return cmp.Or(-cmp.Compare(x.held, y.held), -cmp.Compare(b.fits(x), b.fits(y)))
		})
	}
}

// fits is how many of the wanted bundles a node could hold, first come.
func (b *bundler) fits(s *slot) int {
	free, count := s.free.Clone(), 0
	for _, i := range b.wanted() {
		if b.plan[i] == nil && free.Fits(b.req.Bundles[i]) {
			free.Sub(b.req.Bundles[i])
			count++
		}
	}
	return count
}

// onOne puts all on one node: where the fixed ones are, else the soft node,
// else the one that it fills best.
func (b *bundler) onOne() bool {
	var home *slot
	for i := range b.req.Bundles {
		if b.fixed(i) {
			if b.plan[i] == nil || home != nil && home != b.plan[i] {
				return false
			}
			home = b.plan[i]
		}
	}
	var best *slot
	for _, s := range b.slots {
		if home != nil && s != home || !b.holdsAll(s) {
			continue
		}
		if best == nil || b.tighter(s, best) {
			best = s
		}
	}
	if best == nil {
		return false
	}
	for _, i := range b.wanted() {
		b.put(best, i)
	}
	return true
}

func (b *bundler) holdsAll(s *slot) bool {
	sum := spec.Resources{}
	for _, i := range b.wanted() {
		if !b.allows(s, i) {
			return false
		}
		sum.Add(b.req.Bundles[i])
	}
	return s.free.Fits(sum)
}

func (b *bundler) tighter(x, y *slot) bool {
	if soft := b.req.SoftNode; !soft.IsZero() && (x.real.ID == soft) != (y.real.ID == soft) {
		return x.real.ID == soft
	}
	if xg, yg := x.real.Total[spec.GPU] > 0, y.real.Total[spec.GPU] > 0; xg != yg && !b.wantsGPU() {
		return yg
	}
	return x.free[spec.CPU] < y.free[spec.CPU]
}

func (b *bundler) wantsGPU() bool {
	return slices.ContainsFunc(b.req.Bundles, func(r spec.Resources) bool { return r[spec.GPU] > 0 })
}

// each places bundles one by one on the best node in order.
func (b *bundler) each(order func(x, y *slot) int) bool {
	for _, i := range b.wanted() {
		var best *slot
		for _, s := range b.slots {
			if !b.allows(s, i) {
				continue
			}
			gpu := 0
			if best != nil && b.req.Bundles[i][spec.GPU] == 0 {
				gpu = cmp.Compare(boolInt(s.real.Total[spec.GPU] > 0), boolInt(best.real.Total[spec.GPU] > 0))
			}
			if best == nil || cmp.Or(order(s, best), gpu) < 0 {
				best = s
			}
		}
		if best == nil {
			return false
		}
		b.put(best, i)
	}
	return true
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// apart gives every bundle a node of its own: a matching by augmenting paths,
// so that a plan is found whenever there is one.
func (b *bundler) apart() bool {
	taken := map[*slot]int{}
	for i := range b.req.Bundles {
		if b.fixed(i) && b.plan[i] != nil {
			taken[b.plan[i]] = -1
		}
	}
	var seen map[*slot]bool
	var try func(i int) bool
	try = func(i int) bool {
		for _, s := range b.slots {
			holder, full := taken[s]
			if seen[s] || full && holder < 0 || !b.allows(s, i) {
				continue
			}
			seen[s] = true
			if !full || try(holder) {
				taken[s] = i
				return true
			}
		}
		return false
	}
	for _, i := range b.wanted() {
		seen = map[*slot]bool{}
		if !try(i) {
			return false
		}
	}
	for s, i := range taken {
		if i >= 0 {
			b.plan[i] = s
		}
	}
	return true
}

func (b *bundler) ids() []spec.NodeID {
	out := make([]spec.NodeID, len(b.plan))
	for i, s := range b.plan {
		if s != nil {
			out[i] = s.real.ID
		}
	}
	return out
}

// why explains a group that no set of free nodes could hold.
func (b *bundler) why() string {
	fresh := &bundler{req: b.req, slots: b.slots, plan: make([]*slot, len(b.plan))}
	for _, i := range fresh.wanted() {
		ok := slices.ContainsFunc(fresh.slots, func(s *slot) bool {
			return s.real.Total.Fits(b.req.Bundles[i]) && (len(b.req.Labels) <= i || matches(s, b.req.Labels[i]))
		})
		if !ok {
			var labels map[string]string
			if len(b.req.Labels) > i {
				labels = b.req.Labels[i]
			}
			return fmt.Sprintf("no node has %s%s, which bundle %d needs%s", text(b.req.Bundles[i]), labelsText(labels), i, fresh.near(i))
		}
	}
	switch b.req.Strategy {
	case spec.StrictPack:
		sum := spec.Resources{}
		for _, i := range fresh.wanted() {
			sum.Add(b.req.Bundles[i])
		}
		return "no single node has " + text(sum) + ", which the bundles need together (STRICT_PACK)"
	case spec.StrictSpread:
		return fmt.Sprintf("STRICT_SPREAD needs a node for each of its %d bundles; %d take work", len(b.req.Bundles), len(b.slots))
	default:
		return "the nodes are too small for all bundles together"
	}
}

func matches(s *slot, labels map[string]string) bool {
	_, ok := matchAll(s.real.Labels, labels)
	return ok
}

// near names the node that misses least for a bundle.
func (b *bundler) near(i int) string {
	var best *slot
	least := math.Inf(1)
	for _, s := range b.slots {
		gap := 0.0
		for k, v := range b.req.Bundles[i] {
			if s.real.Total[k] < v {
				gap += 1 - 0.5*s.real.Total[k].Float()/v.Float()
			}
		}
		if gap < least {
			best, least = s, gap
		}
	}
	if best == nil {
		return ""
	}
	has := spec.Resources{}
	for k := range b.req.Bundles[i] {
		has[k] = best.real.Total[k]
	}
	return fmt.Sprintf("; nearest: %s has %s", best.real, text(has))
}
