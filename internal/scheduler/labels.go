package scheduler

import (
	"maps"
	"slices"
	"strings"
)

// MatchLabel tells whether a label's value satisfies a selector string: `v`
// equals, `!v` does not, `in(a, b)` is one of, `!in(a, b)` is none of. A
// missing label satisfies the two negations only.
func MatchLabel(value string, present bool, selector string) bool {
	s := strings.TrimSpace(selector)
	negated := strings.HasPrefix(s, "!")
	s = strings.TrimSpace(strings.TrimPrefix(s, "!"))
	hit := present && value == s
	if list, ok := strings.CutPrefix(s, "in("); ok && strings.HasSuffix(list, ")") {
		hit = false
		for v := range strings.SplitSeq(strings.TrimSuffix(list, ")"), ",") {
			hit = hit || present && value == strings.TrimSpace(v)
		}
	}
	return hit != negated
}

// MatchLabels tells whether labels satisfy all selectors; miss names the first
// that they do not.
func MatchLabels(labels, selectors map[string]string) (miss string, ok bool) {
	return matchAll(labels, selectors)
}

// matchAll names the first label (in order) whose selector is not satisfied.
func matchAll(labels, selectors map[string]string) (miss string, ok bool) {
	for _, k := range slices.Sorted(maps.Keys(selectors)) {
		v, present := labels[k]
		if !MatchLabel(v, present, selectors[k]) {
			return k + "=" + selectors[k], false
		}
	}
	return "", true
}
