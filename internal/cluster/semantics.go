package cluster

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// reName is what a cluster may be called: the name becomes a tag, a directory
// and a part of shell commands.
var reName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// reContainer is what engines take as a container's name.
var reContainer = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// provider checks the provider section, whose known fields depend on its type.
func (c *checker) provider(root *yaml.Node, doc map[string]any) {
	section, given := doc["provider"]
	if !given {
		c.addAt("provider", `missing; add for example "provider: {type: process}"`)
		return
	}
	m, ok := section.(map[string]any)
	if !ok {
		return // reported already
	}
	name, ok := m["type"].(string)
	if !ok {
		if m["type"] == nil {
			c.addAt("provider.type", "missing; one of %s", strings.Join(ProviderTypes(), ", "))
		}
		name = ""
	}
	own, known := providerFields[name]
	if !known && name != "" {
		c.addAt("provider.type", "unknown provider %q%s", name, didYouMean(name, ProviderTypes()))
	}
	if !known || own == nil {
		return
	}
	all := maps.Clone(providerCommon)
	maps.Copy(all, own)
	if n := child(root, "provider"); n != nil && n.Kind == yaml.MappingNode {
		for k := range c.at { // the open walk has noted these already
			if strings.HasPrefix(k, "provider.") {
				delete(c.at, k)
			}
		}
		c.object(n, "provider", all)
	}
}

// child finds the value of a key of a mapping node.
func child(n *yaml.Node, key string) *yaml.Node {
	pairs, err := flatten(n, new(int))
	if err != nil {
		return nil
	}
	for _, p := range pairs {
		if p.key.Value == key {
			return resolve(p.value)
		}
	}
	return nil
}

// semantics checks what no single field shows. doc is the file's own content;
// full is the same with defaults where the file was well-formed enough.
func (c *checker) semantics(doc, full map[string]any) {
	if name, ok := doc["cluster_name"]; !ok {
		c.addAt("cluster_name", `missing; add for example "cluster_name: default"`)
	} else if s, ok := name.(string); ok && !reName.MatchString(s) {
		c.addAt("cluster_name", "%q is no cluster name: use letters, digits, dots, dashes and underscores, at most 63", s)
	}
	c.autoStop(doc)
	c.docker(doc)
	provider := str(sub(doc, "provider")["type"])
	if provider == "local" {
		c.local(doc)
		return
	}
	types := sub(full, "available_node_types")
	c.headType(full, types)
	c.limits(full, types)
	if provider == "process" || provider == "docker" || provider == "fake" {
		for _, name := range slices.Sorted(maps.Keys(types)) {
			m, ok := types[name].(map[string]any)
			if ok && len(sub(m, "resources")) == 0 {
				c.addAt("available_node_types."+name+".resources",
					`missing; a %s node has only the resources that are declared, for example "resources: {CPU: 2}"`, provider)
			}
		}
	}
}

func (c *checker) headType(full, types map[string]any) {
	head, given := full["head_node_type"].(string)
	if types == nil {
		return
	}
	names := slices.Sorted(maps.Keys(types))
	switch {
	case !given && full["head_node_type"] == nil && len(types) > 0:
		c.addAt("head_node_type", "missing; name one of %s", strings.Join(names, ", "))
	case !given:
	case len(types) == 0:
		c.addAt("available_node_types", "needs at least the node type of the head")
	case types[head] == nil:
		c.addAt("head_node_type", "%q is not in available_node_types%s", head, didYouMean(head, names))
	}
}

// limits checks how the counts of workers fit together.
func (c *checker) limits(full, types map[string]any) {
	total := 0
	for _, name := range slices.Sorted(maps.Keys(types)) {
		m, ok := types[name].(map[string]any)
		if !ok {
			continue
		}
		least, most := whole(m["min_workers"]), whole(m["max_workers"])
		total += least
		if m["max_workers"] != nil && most < least {
			c.addAt("available_node_types."+name+".max_workers", "%d is below min_workers, which is %d", most, least)
		}
	}
	if most, ok := full["max_workers"].(int64); ok && int64(total) > most {
		c.addAt("max_workers", "%d, but min_workers of the node types add up to %d", most, total)
	}
}

// autoStop checks the section by which a cluster ends itself.
func (c *checker) autoStop(doc map[string]any) {
	section := sub(doc, "auto_stop")
	if section == nil {
		return
	}
	if idle, ok := asFloat(section["idle_minutes"]); section["idle_minutes"] == nil || ok && idle <= 0 {
		c.addAt("auto_stop.idle_minutes", "give the minutes, more than 0, after which a cluster that runs nothing ends")
	}
	provider := str(sub(doc, "provider")["type"])
	switch action := section["action"]; {
	case action != "down" && action != "stop":
		c.addAt("auto_stop.action", `give "down", which ends all machines, or "stop", which keeps their disks for the next ray up`)
	case provider == "local":
		c.addAt("auto_stop", "is not for the local provider, whose machines are there anyway; remove it")
	}
}

// local checks the section of on-prem clusters.
func (c *checker) local(doc map[string]any) {
	section := sub(doc, "provider")
	_, prepared := sub(doc, "available_node_types")[localType]
	for _, key := range []string{"available_node_types", "head_node_type"} {
		if doc[key] != nil && !prepared {
			c.addAt(key, "is not for the local provider, which makes one node type of its hosts; remove it")
		}
	}
	if s := str(section["coordinator_address"]); s != "" {
		if doc["max_workers"] == nil && !prepared {
			c.addAt("max_workers", "missing; with a coordinator, which has the list of hosts, the file must say how many to take")
		}
		return
	}
	if str(section["head_ip"]) == "" {
		c.addAt("provider.head_ip", "missing; the address of the machine that is to be the head")
	}
	hosts := texts(section["worker_ips"])
	if section["worker_ips"] == nil {
		c.addAt("provider.worker_ips", "missing; a list of addresses, [] for none")
	}
	seen := map[string]bool{str(section["head_ip"]): true}
	for _, h := range hosts {
		if seen[h] {
			c.addAt("provider.worker_ips", "%s is given twice", h)
		}
		seen[h] = true
	}
}
