package cluster

import "slices"

// fillSetup puts the common set-up commands before those of each kind.
func fillSetup(doc map[string]any) {
	common, _ := doc["setup_commands"].([]any)
	for _, key := range []string{"head_setup_commands", "worker_setup_commands"} {
		own, _ := doc[key].([]any)
		doc[key] = append(slices.Clone(common), own...)
	}
}

// isResolved tells whether the document is what a launcher wrote for a head:
// its defaults are filled in, and common set-up commands already stand in the
// lists of head and workers.
func isResolved(doc map[string]any) bool {
	if _, marked := doc["no_restart"]; !marked {
		return false
	}
	common, _ := doc["setup_commands"].([]any)
	for _, key := range []string{"head_setup_commands", "worker_setup_commands"} {
		own, _ := doc[key].([]any)
		if len(own) < len(common) || !slices.Equal(own[:len(common)], common) {
			return false
		}
	}
	return true
}

// unset are the lists of set-up commands that the document leaves out. One
// that a launcher wrote has them all: there, a list that is the default's was
// left out.
func unset(doc map[string]any) map[string]bool {
	out := map[string]bool{}
	defaults := providerDefaults(str(sub(doc, "provider")["type"]))
	common, _ := defaults["setup_commands"].([]any)
	head, _ := defaults["head_setup_commands"].([]any)
	resolved := isResolved(doc)
	for key, list := range map[string][]any{"setup_commands": common, "head_setup_commands": append(slices.Clone(common), head...)} {
		given, _ := doc[key].([]any)
		out[key] = doc[key] == nil || resolved && slices.Equal(given, list)
	}
	return out
}

// commands are the set-up commands to run on heads and workers.
func (o origin) commands(doc map[string]any) (head, worker []string) {
	head, worker = texts(doc["head_setup_commands"]), texts(doc["worker_setup_commands"])
	common := texts(doc["setup_commands"])
	begins := func(list []string) bool { return len(list) >= len(common) && slices.Equal(list[:len(common)], common) }
	own := texts(providerDefaults(str(sub(doc, "provider")["type"]))["head_setup_commands"])
	if n := len(head) - len(own); o.unset["head_setup_commands"] && n >= 0 && slices.Equal(head[n:], own) {
		head = head[:n]
	}
	if o.unset["setup_commands"] && begins(head) {
		head = head[len(common):]
	}
	if o.unset["setup_commands"] && begins(worker) {
		worker = worker[len(common):]
	}
	return head, worker
}
