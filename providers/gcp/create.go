package gcp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/protobuf/proto"

	"ray/providers"
)

// Create implements providers.Provider.
func (p *Provider) Create(ctx context.Context, req providers.CreateRequest) ([]providers.Instance, error) {
	op := "create " + req.Type
	nt, ok := p.o.Config.NodeTypes[req.Type]
	if !ok {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: op, Err: fmt.Errorf("no such node type in %s", p.o.Config.Source)}
	}
	s, errs := parse(nt.NodeConfig, "available_node_types."+req.Type+".node_config")
	if len(errs) > 0 {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: op, Err: fmt.Errorf("%s: %s", errs[0].path, errs[0].message)}
	}
	live, err := p.live(ctx)
	if err != nil {
		return nil, err
	}
	made, generation := existing(live, req)
	names := p.missing(live, req, generation, req.Count-len(made))
	var left []providers.Offering
	if w := p.wanted(s); len(w.Places) > 0 {
		left = p.offers.For(req, w, req.Kind != providers.Head, time.Now())
	}
	for len(names) > 0 && len(left) > 0 {
		o := left[0]
		var more []string
		more, err = p.launch(ctx, s, o, req, names)
		made = append(made, more...)
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(more, n) })
		p.offers.Tell(req, o, err, time.Now())
		if err == nil {
			continue
		}
		if c := providers.CauseOf(err); c != providers.Capacity && c != providers.Quota {
			break
		}
		left = promote(left[1:], err.Error())
	}
	if len(names) > 0 && err == nil {
		err = &providers.Error{Cause: providers.BadConfig, Op: op, Hint: "set provider.availability_zone: no zone is left to try"}
	}
	out, lerr := p.pick(ctx, made)
	if err == nil {
		err = lerr
	}
	return out, err
}

// existing names the instances that an earlier try of the request made. For a
// head, whose launchers may be several, it is any head that is not stopped;
// those that are give the generation, so that the next one has another name.
func existing(live map[string]machine, req providers.CreateRequest) (made []string, generation string) {
	token := label(req.Token)
	for _, id := range slices.Sorted(maps.Keys(live)) {
		switch m := live[id]; {
		case req.Kind == providers.Head && m.Kind == providers.Head && !m.State.Up():
			generation += id
		case !m.State.Up():
		case req.Kind == providers.Head && m.Kind == providers.Head, m.Tags[providers.TagRequest] == token:
			made = append(made, id)
		}
	}
	return made, generation
}

// Instance names have at most 63 characters: these end in 8 of a digest and
// in what upstream calls the kind of resource.
const (
	nameEnd  = "-compute"
	baseMost = 63 - len(nameEnd) - 9
)

// missing names the n instances that the request still lacks.
func (p *Provider) missing(live map[string]machine, req providers.CreateRequest, generation string, n int) []string {
	base := req.Tags[providers.TagName]
	if base == "" {
		base = "ray-" + p.o.Config.Name + "-" + req.Kind
	}
	base = strings.ReplaceAll(strings.ToLower(base), "_", "-")
	base = strings.TrimRight(base[:min(len(base), baseMost)], "-")
	key := req.Token
	if req.Kind == providers.Head { // whoever launches it gives it the same name
		key = providers.Head + generation
	}
	var names []string
	for at := 0; len(names) < n && at < req.Count; at++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", p.o.Config.Name, key, at))
		name := base + "-" + hex.EncodeToString(sum[:4]) + nameEnd
		if _, ok := live[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

// pick gives the named instances as the service now shows them.
func (p *Provider) pick(ctx context.Context, names []string) ([]providers.Instance, error) {
	if len(names) == 0 {
		return nil, nil
	}
	live, err := p.live(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []providers.Instance
	for _, n := range slices.Compact(names) {
		if m, ok := live[n]; ok {
			out = append(out, m.Instance)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range out { // so that the end of one that no list has shown is seen
		p.seen[i.ID] = i
	}
	return out, nil
}

// wanted lists the ways to get a machine. Names are of a zone: two launchers of
// a head must meet in one, so heads do not take turns.
func (p *Provider) wanted(s launchSpec) providers.Wanted {
	w := providers.Wanted{Types: s.machines, Places: p.zones(), Spot: isSpot(s.instance), Fallback: s.spotFallback}
	if s.zone != "" {
		w.Places = []string{s.zone}
	}
	return w
}

// Offerings implements providers.Offerer.
func (p *Provider) Offerings(nodeType string) []providers.Offering {
	s, errs := parse(p.o.Config.NodeTypes[nodeType].NodeConfig, "")
	if len(errs) > 0 {
		return nil
	}
	w := p.wanted(s)
	if len(w.Places) == 0 {
		return nil // there is no machine without a zone
	}
	return w.All()
}

var reZone = regexp.MustCompile(`\b[a-z]+-[a-z]+\d+-[a-z]\b`)

// promote moves the offerings to the front whose zone the service recommends
// when it says that another has none left.
func promote(left []providers.Offering, message string) []providers.Offering {
	named := reZone.FindAllString(message, -1)
	out := slices.Clone(left)
	slices.SortStableFunc(out, func(a, b providers.Offering) int {
		rank := func(o providers.Offering) int {
			if slices.Contains(named, o.Place) {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return out
}

// launch makes the named instances by one offering, or as many as there are,
// and says which it made.
func (p *Provider) launch(ctx context.Context, s launchSpec, o providers.Offering, req providers.CreateRequest, names []string) ([]string, error) {
	keys, err := p.publicKey()
	if err != nil {
		return nil, err
	}
	done := make([]bool, len(names))
	err = each(names, func(at int, name string) error {
		body := p.body(s, o, req, name, keys)
		err := p.patiently(ctx, req.Kind, func() error { return p.insert(ctx, s, o, body) })
		done[at] = err == nil
		return err
	})
	var made []string
	for at, name := range names {
		if done[at] {
			made = append(made, name)
		}
	}
	return made, err
}

const (
	launchTries = 5
	// accountWait is how long a new service account may be unknown to Compute Engine.
	accountWait = time.Minute
	// appearsEvery is how often an instance is looked for that another call makes.
	appearsEvery = 500 * time.Millisecond
)

// patiently tries again what fails in passing; names make that harmless.
func (p *Provider) patiently(ctx context.Context, kind string, do func() error) error {
	begun := time.Now()
	for try := 1; ; try++ {
		err := do()
		young := err != nil && kind == providers.Head && strings.Contains(err.Error(), accountID) && time.Since(begun) < accountWait
		if err == nil || !young && (providers.CauseOf(err) != providers.Transient || try >= launchTries) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(200<<min(try, 4)) * time.Millisecond):
		}
	}
}

// insert makes one instance and waits until the service has a place for it.
func (p *Provider) insert(ctx context.Context, s launchSpec, o providers.Offering, body *computepb.Instance) error {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return err
	}
	what := "create " + body.GetName() + " (" + o.String() + ")"
	in := &computepb.InsertInstanceRequest{Project: p.project(), Zone: o.Place, InstanceResource: body}
	if s.template != "" {
		in.SourceInstanceTemplate = proto.String(s.template)
	}
	op, err := c.instances.Insert(ctx, in)
	if isConflict(err) { // an earlier try made it, or another launcher
		return p.appears(ctx, what, o.Place, body.GetName())
	}
	if err != nil {
		return failed(what, err)
	}
	return p.done(ctx, what, o.Place, op.Name())
}

// appears waits until the service has a place for an instance that another call
// is making: one whose answer was lost, or another launcher's. That may still
// end without one, and is then tried again.
func (p *Provider) appears(ctx context.Context, what, zone, name string) error {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return err
	}
	for {
		i, err := c.instances.Get(ctx, &computepb.GetInstanceRequest{Project: p.project(), Zone: zone, Instance: name})
		switch {
		case isNotFound(err):
			return &providers.Error{Cause: providers.Transient, Op: what, Err: errors.New("another call was making it, and has not")}
		case err != nil:
			return failed(what, err)
		case i.GetStatus() != "PROVISIONING":
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(appearsEvery):
		}
	}
}

var reNotLabel = regexp.MustCompile(`[^-_a-z0-9]`)

// label makes a text one that the service takes as a label's value.
func label(value string) string {
	if reLabel.MatchString(value) {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	clean := reNotLabel.ReplaceAllString(strings.ToLower(value), "-")
	return clean[:min(len(clean), 46)] + "-" + hex.EncodeToString(sum[:8])
}
