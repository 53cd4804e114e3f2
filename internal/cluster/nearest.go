package cluster

import (
	"slices"
	"strings"
)

// Nearest gives the candidate that a person most likely meant by word, and
// whether one is close enough to be worth suggesting.
func Nearest(word string, candidates []string) (string, bool) {
	sorted := slices.Clone(candidates)
	slices.Sort(sorted)
	best, bestDistance := "", len(word)/3+2
	for _, c := range sorted {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best, best != ""
}

// didYouMean is the end of a message about an unknown name.
func didYouMean(word string, candidates []string) string {
	if n, ok := Nearest(word, candidates); ok {
		return `; did you mean "` + n + `"?`
	}
	sorted := slices.Clone(candidates)
	slices.Sort(sorted)
	return "; known are " + strings.Join(sorted, ", ")
}

// distance is the edit distance of a and b in which swapping two neighbours
// counts once, the commonest slip of the fingers.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
