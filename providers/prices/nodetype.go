package prices

import (
	"strings"

	"ray/internal/cluster"
)

// Estimate is what one node of a type costs by the hour.
type Estimate struct {
	USD   float64 `json:"usd"`
	Known bool    `json:"known"` // false: the table does not have the machine
	Free  bool    `json:"free,omitempty"`
	Spot  bool    `json:"spot,omitempty"`
	// Machine is the provider's name of the machine, "" if the file leaves it
	// open.
	Machine string `json:"machine,omitempty"`
	// Date is when the provider was asked for the price; "" is the table's.
	Date string `json:"date,omitempty"`
	// Accelerators are those that are paid for besides the machine.
	Accelerators []string `json:"accelerators,omitempty"`
}

// Free providers' nodes are on machines that are there and paid for anyway.
var free = map[string]bool{"process": true, "docker": true, "local": true, "fake": true, "readonly": true}

// NodeType estimates a node type of the cluster. Where the file lists several
// machine types, the first counts.
func (t *Table) NodeType(cfg *cluster.Config, name string) Estimate {
	kind := cfg.Provider.Type
	if own := cfg.NodeTypes[name].Price; own != nil {
		return Estimate{USD: *own, Known: true, Free: *own == 0}
	}
	if free[kind] {
		return Estimate{Known: true, Free: true}
	}
	node := cfg.NodeTypes[name].NodeConfig
	switch kind {
	case "aws":
		e := Estimate{Machine: first(node, "InstanceType", "InstanceTypes")}
		market, _ := node["InstanceMarketOptions"].(map[string]any)
		e.Spot = market["MarketType"] == "spot"
		region := orElse(cfg.Provider.Text("region"), "us-west-2")
		e.USD, e.Known = t.Machine(kind, region, e.Machine, e.Spot)
		e.Date = t.asked(kind, region, e.Machine)
		return e
	case "gcp":
		return t.gcp(orElse(cfg.Provider.Text("region"), "us-west1"), node)
	}
	return Estimate{}
}

func (t *Table) gcp(region string, node map[string]any) Estimate {
	e := Estimate{Machine: first(node, "machineType", "machineTypes")}
	e.Machine = e.Machine[strings.LastIndexByte(e.Machine, '/')+1:]
	for _, s := range mappings(node["scheduling"]) {
		e.Spot = e.Spot || s["preemptible"] == true || s["provisioningModel"] == "SPOT"
	}
	e.USD, e.Known = t.Machine("gcp", region, e.Machine, e.Spot)
	e.Date = t.asked("gcp", region, e.Machine)
	for _, a := range mappings(node["guestAccelerators"]) {
		name, _ := a["acceleratorType"].(string)
		count, ok := a["acceleratorCount"].(int64)
		if !ok {
			count = 1
		}
		name = name[strings.LastIndexByte(name, '/')+1:]
		e.Accelerators = append(e.Accelerators, name)
		each, known := t.Accelerator("gcp", region, name, e.Spot)
		e.USD += float64(count) * each
		e.Known = e.Known && known
	}
	return e
}

// mappings gives the mappings of a list, or the one that stands for a list.
func mappings(v any) []map[string]any {
	var out []map[string]any
	switch x := v.(type) {
	case map[string]any:
		out = append(out, x)
	case []any:
		for _, item := range x {
			if m, ok := item.(map[string]any); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

// first gives a text field, else the first text of a list field.
func first(node map[string]any, one, many string) string {
	if list, ok := node[many].([]any); ok && len(list) > 0 {
		if s, ok := list[0].(string); ok {
			return s
		}
	}
	s, _ := node[one].(string)
	return s
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
