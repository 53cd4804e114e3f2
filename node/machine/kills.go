package machine

import "time"

// killsFresh is how long after the kernel's kill of a process its death is
// noticed at the latest: its parent has to get round to it.
const killsFresh = 2 * time.Second

// Kills tells whether a death by SIGKILL was the kernel's, for want of memory.
// The kernel only counts such kills. So each explains one death that is noticed
// soon after it; one that nobody noticed must not be blamed for a kill by
// somebody else much later.
type Kills struct {
	looks     []look // the last of those that are no longer fresh, and the fresh ones
	explained uint64 // kills of which the death is known, or will not be
}

type look struct {
	at    time.Time
	count uint64
}

// Look takes the count as it is now; it is called now and then.
func (k *Kills) Look(now time.Time, count uint64) {
	if len(k.looks) == 0 {
		k.explained = count // what was killed before is nobody's here
	}
	k.looks = append(k.looks, look{now, count})
	for len(k.looks) > 1 && now.Sub(k.looks[1].at) >= killsFresh {
		k.looks = k.looks[1:]
	}
	if l := k.looks[0]; now.Sub(l.at) >= killsFresh {
		k.explained = max(k.explained, l.count)
	}
}

// Explain tells whether one of the kills counted by now may explain a death
// that has just been noticed. No other death is explained by it.
func (k *Kills) Explain(now time.Time, count uint64) bool {
	k.Look(now, count)
	if count <= k.explained {
		return false
	}
	k.explained++
	return true
}
