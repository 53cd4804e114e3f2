package scalerpc

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ray/internal/autoscalerpb"
	"ray/internal/spec"
)

// maxAmount is the largest amount of a resource that spec.Fixed can hold.
const maxAmount = float64(math.MaxInt64/spec.FixedScale) / 2

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// labelSelector turns `v`, `!v`, `in(a,b)` and `!in(a,b)` into conditions.
func labelSelector(selector map[string]string) *autoscalerpb.LabelSelector {
	out := &autoscalerpb.LabelSelector{}
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		c := &autoscalerpb.LabelSelectorConstraint{LabelKey: key, Operator: autoscalerpb.LabelSelectorOperator_LABEL_OPERATOR_IN}
		text, negated := strings.CutPrefix(strings.TrimSpace(selector[key]), "!")
		if negated {
			c.Operator = autoscalerpb.LabelSelectorOperator_LABEL_OPERATOR_NOT_IN
		}
		text = strings.TrimSpace(text)
		if list, ok := strings.CutPrefix(text, "in("); ok && strings.HasSuffix(list, ")") {
			for value := range strings.SplitSeq(strings.TrimSuffix(list, ")"), ",") {
				c.LabelValues = append(c.LabelValues, strings.TrimSpace(value))
			}
		} else {
			c.LabelValues = []string{text}
		}
		out.LabelConstraints = append(out.LabelConstraints, c)
	}
	return out
}

// selectorOf is the way back.
func selectorOf(s *autoscalerpb.LabelSelector) (map[string]string, error) {
	out := map[string]string{}
	for _, c := range s.GetLabelConstraints() {
		if _, twice := out[c.LabelKey]; twice || c.LabelKey == "" || len(c.LabelValues) == 0 {
			return nil, invalid("label selector: the condition on label %q has no key or no values, or is one of two on it", c.LabelKey)
		}
		text := c.LabelValues[0]
		if len(c.LabelValues) > 1 {
			text = "in(" + strings.Join(c.LabelValues, ",") + ")"
		}
		switch c.Operator {
		case autoscalerpb.LabelSelectorOperator_LABEL_OPERATOR_IN:
		case autoscalerpb.LabelSelectorOperator_LABEL_OPERATOR_NOT_IN:
			text = "!" + text
		default:
			return nil, invalid("label selector: the condition on label %q has the unknown operator %d", c.LabelKey, c.Operator)
		}
		out[c.LabelKey] = text
	}
	return out, nil
}

// constraintDemands checks a constraint and turns it into demands. Requests
// for nothing are left out; nil is none, as upstream's client takes one back.
func constraintDemands(c *autoscalerpb.ClusterResourceConstraint) ([]spec.Demand, error) {
	var out []spec.Demand
	for i, r := range c.GetResourceRequests() {
		if r.Count < 0 || r.Count > math.MaxInt32 {
			return nil, invalid("resource request %d: its count is %d; it can be 0 to %d", i, r.Count, math.MaxInt32)
		}
		if len(r.Request.GetPlacementConstraints()) > 0 {
			return nil, status.Errorf(codes.Unimplemented, "not supported yet: placement constraints in a cluster constraint (resource request %d)", i)
		}
		d := spec.Demand{Count: int(r.Count), Kind: "constraint"}
		bundle := r.Request.GetResourcesBundle()
		for name, amount := range bundle {
			if !(amount >= 0 && amount <= maxAmount) { // NaN is neither
				return nil, invalid("resource request %d: %s is %v; it must be from 0 to %.0f", i, name, amount, maxAmount)
			}
		}
		d.Resources = spec.FromFloats(bundle)
		for j, s := range r.Request.GetLabelSelectors() {
			selector, err := selectorOf(s)
			if err != nil {
				return nil, fmt.Errorf("resource request %d: %w", i, err)
			}
			if j > 0 {
				d.Fallback = append(d.Fallback, selector)
			} else if len(selector) > 0 {
				d.LabelSelector = selector
			}
		}
		if d.Count > 0 && !d.Resources.IsEmpty() {
			out = append(out, d)
		}
	}
	return out, nil
}

// drainOf checks what a drain request says.
func drainOf(r *autoscalerpb.DrainNodeRequest) (id spec.NodeID, d spec.Drain, err error) {
	if len(r.NodeId) != len(id) {
		return id, d, invalid("drain: a node id has %d bytes, not %d", len(id), len(r.NodeId))
	}
	copy(id[:], r.NodeId)
	if r.DeadlineTimestampMs < 0 {
		return id, d, invalid("Draining deadline must be non-negative, got %d ms.", r.DeadlineTimestampMs)
	}
	d = spec.Drain{Message: r.ReasonMessage, DeadlineMS: r.DeadlineTimestampMs}
	switch r.Reason {
	case autoscalerpb.DrainNodeReason_DRAIN_NODE_REASON_IDLE_TERMINATION:
		d.Reason = spec.DrainIdle
	case autoscalerpb.DrainNodeReason_DRAIN_NODE_REASON_PREEMPTION:
		d.Reason = spec.DrainPreempted
	default:
		return id, d, invalid("drain node %s: the reason is %s; it must be idle termination or preemption", id, r.Reason)
	}
	return id, d, nil
}
