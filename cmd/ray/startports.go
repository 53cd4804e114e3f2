package main

import (
	"fmt"
	"maps"
	"os"

	"github.com/spf13/pflag"

	"ray/internal/cluster"
)

// bindPorts registers the options for the port on which a node hears from
// other machines: cluster files name it, since firewalls let it through.
// Upstream has one port for objects and one for orders; here both come by one,
// so the first that is given and free is taken.
func (o *startOptions) bindPorts(f *pflag.FlagSet) {
	f.IntVar(&o.nodePorts[0], "object-manager-port", 0, "port of this node for other machines (default: any free one)")
	f.IntVar(&o.nodePorts[1], "node-manager-port", 0, "taken where --object-manager-port is not given or not free")
	f.StringVar(&o.labelsFile, "labels-file", "", "YAML file with labels; those of --labels win")
}

// nodePort chooses the node's port. One that is taken is no error: the nodes of
// a cluster on one machine are all started by the same command line.
func (p *startPlan) nodePort(o *startOptions) {
	c := &p.node
	var taken []int
	for _, port := range o.nodePorts {
		if port == 0 {
			continue
		}
		if checkPort(c.NodeIP, port, "") == nil {
			c.NodePort = port
			return
		}
		taken = append(taken, port)
	}
	for _, port := range taken {
		p.notes = append(p.notes, fmt.Sprintf("Port %d is in use%s: this node listens for other machines on a free one.", port, holder("", port)))
	}
}

// checkPorts finds numbers that no port has.
func (o *startOptions) checkPorts() error {
	for i, name := range []string{"--object-manager-port", "--node-manager-port"} {
		if port := o.nodePorts[i]; port < 0 || port > 65535 {
			return usagef("Invalid value for '%s': %d is not a port number.", name, port)
		}
	}
	return nil
}

// addLabelsFile reads --labels-file under the labels of the command line.
func (o *startOptions) addLabelsFile() error {
	if o.labelsFile == "" {
		return nil
	}
	text, err := os.ReadFile(o.labelsFile)
	if err != nil {
		return usagef("Invalid value for '--labels-file': %s", err)
	}
	read, err := cluster.Mapping(text)
	if err != nil {
		return usagef("Invalid value for '--labels-file': %s is not a YAML mapping of labels to values: %s", o.labelsFile, err)
	}
	labels := map[string]string{}
	for key, value := range read {
		word, ok := value.(string)
		if !ok {
			return usagef("Invalid value for '--labels-file': the label %s is %v, which is not text: put it in quotes.", key, value)
		}
		labels[key] = word
	}
	maps.Copy(labels, o.labels)
	o.labels = labels
	return nil
}

// unkept are options that promise what does not happen here: taken
// silently they would mislead.
var unkept = map[string]string{
	"enable-resource-isolation": "no cgroups are made; give the node less by --num-cpus and --memory",
	"system-reserved-cpu":       "no cgroups are made; give the node less by --num-cpus",
	"system-reserved-memory":    "no cgroups are made; give the node less by --memory",
	"cgroup-path":               "no cgroups are made; start the node inside that cgroup",
	"proxy-server-url":          "the dashboard answers for its own cluster only",
	"tracing-startup-hook":      "no traces are sent; `ray timeline` shows what ran when",
}

// checkSupported refuses them.
func checkSupported(f *pflag.FlagSet) (err error) {
	f.Visit(func(flag *pflag.Flag) {
		if why, ok := unkept[flag.Name]; ok && err == nil && flag.Value.String() != "false" {
			err = fmt.Errorf("not supported yet: --%s: %s", flag.Name, why)
		}
	})
	return err
}

// checkHeadOnly refuses what has a meaning for a head alone.
func (o *startOptions) checkHeadOnly(f *pflag.FlagSet) error {
	if o.head || o.address == "" {
		return nil
	}
	for _, name := range []string{"port", "redis-shard-ports", "include-dashboard"} {
		if f.Changed(name) {
			return usagef("`--%s` should only be specified when starting head node with `--head`.", name)
		}
	}
	return nil
}
