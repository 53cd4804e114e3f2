package placing

import (
	"math/rand/v2"
	"time"

	"ray/internal/scheduler"
	"ray/internal/spec"
)

// view is what a policy knows: the nodes' own words, less what it has placed
// since.
type view struct {
	total, free []spec.Resources
	backlog     []time.Duration
	placed      []int // since the node last spoke
	random      *rand.Rand
}

func (v *view) Begin(nodes []spec.Resources, random *rand.Rand) {
	*v = view{random: random, backlog: make([]time.Duration, len(nodes)), placed: make([]int, len(nodes))}
	for _, n := range nodes {
		v.total, v.free = append(v.total, n), append(v.free, n.Clone())
	}
}

func (v *view) Round(time.Duration) {}

func (v *view) Told(node int, free spec.Resources, backlog time.Duration, _ int) {
	v.free[node], v.backlog[node], v.placed[node] = free, backlog, 0
}

func (v *view) take(node int, t Task) {
	v.free[node].Sub(t.Need)
	v.placed[node]++
}

// Random takes any node that is large enough.
type Random struct{ view }

// Place implements Policy.
func (p *Random) Place(t Task, _ []Placed, _ time.Duration) (int, bool) {
	for range 1000 {
		if n := p.random.IntN(len(p.total)); p.total[n].Fits(t.Need) {
			return n, true
		}
	}
	return 0, false
}

// LeastLoaded takes the node with the shortest queue, then the most free CPUs.
type LeastLoaded struct{ view }

// Place implements Policy.
func (p *LeastLoaded) Place(t Task, _ []Placed, mean time.Duration) (int, bool) {
	best, found := 0, false
	load := func(n int) float64 {
		return p.backlog[n].Seconds()*1e3 + float64(p.placed[n]) - p.free[n][spec.CPU].Float()
	}
	for n := range p.total {
		if p.total[n].Fits(t.Need) && (!found || load(n) < load(best)) {
			best, found = n, true
		}
	}
	if found {
		p.take(best, t)
	}
	return best, found
}

// Hybrid is upstream's default as its documents describe it: the node with most
// of the input bytes decides and is preferred; nodes under half use count as
// equal and are filled in order, above that the least used; one of the best
// fifth by chance; nodes with room before others.
type Hybrid struct{ view }

// Place implements Policy.
func (p *Hybrid) Place(t Task, inputs []Placed, _ time.Duration) (int, bool) {
	preferred := p.preferred(inputs)
	type choice struct {
		node  int
		score float64
	}
	var best []choice
	keep := max(1, len(p.total)/5)
	consider := func(n int, room bool) {
		if !p.total[n].Fits(t.Need) || p.free[n].Fits(t.Need) != room {
			return
		}
		score := 0.0
		for k, v := range p.total[n] {
			score = max(score, 1-p.free[n][k].Float()/v.Float())
		}
		if score < 0.5 {
			score = 0
		}
		at := len(best)
		for at > 0 && best[at-1].score > score {
			at--
		}
		best = append(best[:at], append([]choice{{n, score}}, best[at:]...)...)
		best = best[:min(len(best), keep)]
	}
	for _, room := range []bool{true, false} {
		if preferred >= 0 {
			consider(preferred, room)
		}
		for n := range p.total {
			if n != preferred {
				consider(n, room)
			}
		}
		if len(best) == 0 {
			continue
		}
		pick := best[p.random.IntN(len(best))]
		if preferred >= 0 && best[0].node == preferred { // it is as good as any
			pick = best[0]
		}
		p.take(pick.node, t)
		return pick.node, true
	}
	return 0, false
}

func (p *Hybrid) preferred(inputs []Placed) int {
	bytes, best := map[int]int64{}, -1
	for _, in := range inputs {
		for _, n := range in.Nodes {
			bytes[n] += in.Bytes
			if best < 0 || bytes[n] > bytes[best] || bytes[n] == bytes[best] && n < best {
				best = n
			}
		}
	}
	return best
}

// Ours is this project's scheduler, as the head drives it.
type Ours struct {
	c      *scheduler.Cluster
	total  []spec.Resources
	random *rand.Rand
	now    time.Time
	rates  map[spec.NodeID]float64
}

func nodeID(n int) spec.NodeID {
	return spec.NodeID{1, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func nodeOf(id spec.NodeID) int {
	return int(id[1])<<24 | int(id[2])<<16 | int(id[3])<<8 | int(id[4])
}

// Begin implements Policy.
func (p *Ours) Begin(nodes []spec.Resources, random *rand.Rand) {
	*p = Ours{c: scheduler.New(), total: nodes, random: random, rates: map[spec.NodeID]float64{}}
	for i := range nodes {
		p.rates[nodeID(i)] = Bandwidth
	}
	for i, n := range nodes {
		p.c.Put(scheduler.Node{ID: nodeID(i), Total: n, Available: n.Clone(), Bandwidth: p.rates})
	}
}

// Told implements Policy.
func (p *Ours) Told(node int, free spec.Resources, backlog time.Duration, arrived int) {
	p.c.Update(nodeID(node), scheduler.Told{Total: p.total[node], Available: free, Backlog: backlog, Bandwidth: p.rates, Arrived: arrived})
}

// Round implements Policy.
func (p *Ours) Round(now time.Duration) {
	p.now = time.Unix(0, int64(now))
	p.c.Expire(p.now)
	p.c.Begin()
}

// Place implements Policy.
func (p *Ours) Place(t Task, inputs []Placed, mean time.Duration) (int, bool) {
	row := scheduler.Row{Resources: t.Need, Count: 1, Mean: mean}
	for _, in := range inputs {
		if in.Bytes < 100<<10 {
			continue // travels with the task
		}
		x := scheduler.Input{Size: in.Bytes}
		for _, n := range in.Nodes {
			x.Nodes = append(x.Nodes, nodeID(n))
		}
		row.Inputs = append(row.Inputs, x)
	}
	a := p.c.Place(row, p.random)
	if len(a.Grants) == 0 {
		return 0, false
	}
	p.c.Promise(a.Grants[0].Node, scheduler.Promise{Need: t.Need, Times: 1, Mean: mean, Until: p.now.Add(100 * time.Millisecond), Tasks: true})
	return nodeOf(a.Grants[0].Node), true
}
