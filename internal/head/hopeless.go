package head

import (
	"strings"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
)

// groupPatience is how long a group that cannot be made is waited for: nodes
// may be on their way by other means than an autoscaler.
const groupPatience = 5 * time.Minute

// hopeless is a placement group that no node of now could hold even if it were
// free, and that no autoscaler can help.
type hopeless struct {
	since time.Time
	why   string // set once patience is over: what waits in it fails
}

// judgeGroup says why a group waits, and gives it up once it has been hopeless
// for too long. A node that joins later may still make it. Needs h.mu.
func (h *Head) judgeGroup(g *gcs.Group, reason string, infeasible bool, now time.Time) string {
	id := g.Info.ID
	text, served := h.groupHelp(g)
	if text != "" {
		reason += "; " + text
	}
	if !infeasible || served {
		delete(h.giveUp, id)
		h.seeGroup(g)
		return reason
	}
	p := h.giveUp[id]
	if p.since.IsZero() {
		p.since = now
	}
	patience := time.Duration(h.cfg.GroupPatienceMS) * time.Millisecond
	if patience == 0 {
		patience = groupPatience
	}
	if p.why == "" && patience > 0 && now.Sub(p.since) >= patience {
		p.why = strings.TrimPrefix(reason, "infeasible now: ")
		if h.scaler == nil {
			p.why += "; this cluster has no autoscaler that could add a node"
		}
		p.why += ". Ask for smaller bundles, or add such a node first; RAY_infeasible_group_timeout_s sets how long is waited (-1: for ever)"
		h.giveUp[id] = p
		h.seeGroup(g)
		h.event("ERROR", "gcs", "The placement group "+id.String()+" cannot be created: "+p.why)
		h.kick()
	}
	h.giveUp[id] = p
	return reason
}

// groupHelp asks the autoscaler for the group, and if it does not know it for
// each bundle that has no node; served tells that it can help with all of
// them. Needs h.mu.
func (h *Head) groupHelp(g *gcs.Group) (text string, served bool) {
	if h.scaler == nil {
		return "", false
	}
	if text, served, known := h.scaler.explainGroup(g.Info.ID); known {
		return text, served
	}
	for i, r := range g.Bundles {
		if r.Step != gcs.Unplaced {
			continue
		}
		d := spec.Demand{Resources: g.Info.Bundles[i], Count: 1, Kind: "placement group"}
		if i < len(g.Info.Labels) {
			d.LabelSelector = g.Info.Labels[i]
		}
		said, ok := h.scaler.explain(d)
		if said != "" {
			text = said
		}
		if !ok {
			return text, false
		}
	}
	return text, true
}
