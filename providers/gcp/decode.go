package gcp

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/protobuf/reflect/protoreflect"

	"ray/internal/cluster"
	"ray/providers"
)

// launchSpec is a node_config that was understood.
type launchSpec struct {
	instance     *computepb.Instance
	template     string   // sourceInstanceTemplate
	machines     []string // short names of machine types, in order
	zone         string   // that the machine type's URL names; "" leaves it open
	spotFallback bool
}

// Keys of a node_config that are not of the service's instance.
const (
	keyTemplate = "sourceInstanceTemplate"
	keyMachines = "machineTypes"
	keyFallback = "spotFallback"
	keyNetwork  = "networkConfig" // of TPUs; upstream writes it into every type
)

// reserved are the keys that the provider sets itself.
var reserved = map[string]string{
	"name": "the provider names instances, so that repeating a request makes nothing twice",
	"zone": "set availability_zone in provider",
}

// reLabel is what the service takes as a label's value.
var reLabel = regexp.MustCompile(`^[-_a-z0-9]{0,63}$`)

// Check finds what is wrong with the cluster file that only this cloud can
// tell. A file that leaves the project open, as a template does, or that has
// TPU nodes is a right file; New refuses it.
func Check(cfg *cluster.Config) error { return check(cfg, false) }

func check(cfg *cluster.Config, toLaunch bool) error {
	var all cluster.Problems
	add := func(path, format string, args ...any) {
		all = append(all, cfg.Problem(path, fmt.Sprintf(format, args...)))
	}
	if toLaunch && cfg.Provider.Text("project_id") == "" {
		add("provider.project_id", "is missing; give the id of a Google Cloud project (gcloud projects list)")
	}
	if !reLabel.MatchString(cfg.Name) {
		add("cluster_name", "%q becomes a label: use only lower-case letters, digits, - and _ (63 at most)", cfg.Name)
	}
	for _, name := range cfg.TypeNames() {
		if !reLabel.MatchString(name) {
			add("available_node_types."+name, "the name becomes a label: use only lower-case letters, digits, - and _ (63 at most)")
		}
		if !toLaunch && isTPU(cfg.NodeTypes[name].NodeConfig) {
			continue
		}
		_, errs := parse(cfg.NodeTypes[name].NodeConfig, "available_node_types."+name+".node_config")
		for _, e := range errs {
			add(e.path, "%s", e.message)
		}
	}
	if len(all) > 0 {
		return all
	}
	return nil
}

// isTPU tells whether a node_config describes a TPU node, whose service is
// another one.
func isTPU(m map[string]any) bool {
	_, compute := m["machineType"]
	return !compute && (m["acceleratorType"] != nil || m["acceleratorConfig"] != nil)
}

// fieldError is one mistake in a node_config.
type fieldError struct{ path, message string }

// parse understands the node_config m; path is where it stands in the file.
// All mistakes are returned, in the order of their paths.
func parse(m map[string]any, path string) (launchSpec, []fieldError) {
	s := launchSpec{instance: &computepb.Instance{}}
	d := &decoder{}
	rest := maps.Clone(m)
	if isTPU(rest) {
		d.add(path, "not supported yet: TPU nodes; use a machineType")
		return s, d.errs
	}
	delete(rest, keyNetwork)
	s.template = d.text(rest, keyTemplate, path)
	s.machines = d.texts(rest, keyMachines, path)
	if v, ok := rest[keyFallback]; ok {
		if s.spotFallback, ok = v.(bool); !ok {
			d.wrong(v, "true or false", path+"."+keyFallback)
		}
		delete(rest, keyFallback)
	}
	for key, why := range reserved {
		if _, ok := rest[key]; ok {
			d.add(path+"."+key, "not for a cluster file; %s", why)
			delete(rest, key)
		}
	}
	d.message(rest, s.instance.ProtoReflect(), path)
	if one := s.instance.GetMachineType(); one != "" {
		s.zone = zoneIn(one)
		if len(s.machines) == 0 {
			s.machines = []string{lastPart(one)}
		}
	}
	slices.SortFunc(d.errs, func(a, b fieldError) int { return strings.Compare(a.path, b.path) })
	return s, d.errs
}

// zoneIn is the zone in a URL such as zones/us-west1-a/machineTypes/n1-standard-2.
func zoneIn(url string) string {
	_, after, ok := strings.Cut("/"+url, "/zones/")
	if !ok {
		return ""
	}
	zone, _, _ := strings.Cut(after, "/")
	return zone
}

// decoder fills the SDK's own message, so that what the service takes is what
// is taken.
type decoder struct{ errs []fieldError }

func (d *decoder) add(path, format string, args ...any) {
	d.errs = append(d.errs, fieldError{path, fmt.Sprintf(format, args...)})
}

// text takes a text out of m.
func (d *decoder) text(m map[string]any, key, path string) string {
	v, ok := m[key]
	delete(m, key)
	s, isText := v.(string)
	if ok && !isText {
		d.wrong(v, "text; put it in quotes", path+"."+key)
	}
	return s
}

// texts takes a list of texts out of m.
func (d *decoder) texts(m map[string]any, key, path string) []string {
	v, ok := m[key]
	delete(m, key)
	list, isList := v.([]any)
	if ok && !isList {
		d.wrong(v, "a list", path+"."+key)
	}
	var out []string
	for at, item := range list {
		s, isText := item.(string)
		if !isText {
			d.wrong(item, "text; put it in quotes", fmt.Sprintf("%s.%s[%d]", path, key, at))
		}
		out = append(out, s)
	}
	return out
}

func (d *decoder) message(m map[string]any, into protoreflect.Message, path string) {
	known := into.Descriptor().Fields()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		f := known.ByJSONName(key)
		if f == nil {
			d.add(path+"."+key, "unknown field%s", suggest(key, into.Descriptor() == (&computepb.Instance{}).ProtoReflect().Descriptor(), known))
			continue
		}
		if m[key] != nil {
			d.field(m[key], into, f, path+"."+key)
		}
	}
}

func suggest(word string, top bool, known protoreflect.FieldDescriptors) string {
	var names []string
	for i := range known.Len() {
		if name := known.Get(i).JSONName(); !top || reserved[name] == "" {
			names = append(names, name)
		}
	}
	if top {
		names = append(names, keyTemplate, keyMachines, keyFallback)
	}
	if n, ok := cluster.Nearest(word, names); ok {
		return `; did you mean "` + n + `"?`
	}
	slices.Sort(names)
	return "; known are " + strings.Join(names, ", ")
}

func (d *decoder) field(v any, into protoreflect.Message, f protoreflect.FieldDescriptor, path string) {
	switch {
	case f.IsMap():
		d.labels(v, into.Mutable(f).Map(), f, path)
	case f.IsList():
		items, ok := v.([]any)
		if !ok {
			d.wrong(v, "a list", path)
			return
		}
		list := into.Mutable(f).List()
		for at, item := range items {
			here := fmt.Sprintf("%s[%d]", path, at)
			if f.Message() == nil {
				if value, ok := d.scalar(item, f, here); ok {
					list.Append(value)
				}
			} else if m, ok := item.(map[string]any); ok {
				element := list.AppendMutable()
				d.message(m, element.Message(), here)
			} else {
				d.wrong(item, "a mapping", here)
			}
		}
	case f.Message() != nil:
		// The service takes a list for the one, and people write it so: a list
		// item for each field.
		if list, ok := v.([]any); ok {
			for at, item := range list {
				m, ok := item.(map[string]any)
				if !ok {
					d.wrong(item, "a mapping", fmt.Sprintf("%s[%d]", path, at))
					continue
				}
				d.message(m, into.Mutable(f).Message(), fmt.Sprintf("%s[%d]", path, at))
			}
			return
		}
		if m, ok := v.(map[string]any); ok {
			d.message(m, into.Mutable(f).Message(), path)
			return
		}
		d.wrong(v, "a mapping", path)
	default:
		if value, ok := d.scalar(v, f, path); ok {
			into.Set(f, value)
		}
	}
}

// labels fills a map, whose keys are texts.
func (d *decoder) labels(v any, into protoreflect.Map, f protoreflect.FieldDescriptor, path string) {
	m, ok := v.(map[string]any)
	if !ok {
		d.wrong(v, "a mapping", path)
		return
	}
	for key, item := range m {
		here, at := path+"."+key, protoreflect.ValueOfString(key).MapKey()
		if f.MapValue().Message() == nil {
			if value, ok := d.scalar(item, f.MapValue(), here); ok {
				into.Set(at, value)
			}
			continue
		}
		sub, ok := item.(map[string]any)
		if !ok {
			d.wrong(item, "a mapping", here)
			continue
		}
		d.message(sub, into.Mutable(at).Message(), here)
	}
}

func (d *decoder) scalar(v any, f protoreflect.FieldDescriptor, path string) (protoreflect.Value, bool) {
	switch f.Kind() {
	case protoreflect.StringKind:
		switch x := v.(type) {
		case string:
			return protoreflect.ValueOfString(x), true
		case int64: // as in diskSizeGb's siblings, which are texts in JSON
			return protoreflect.ValueOfString(fmt.Sprint(x)), true
		}
		d.wrong(v, "text; put it in quotes", path)
	case protoreflect.BoolKind:
		if b, ok := v.(bool); ok {
			return protoreflect.ValueOfBool(b), true
		}
		d.wrong(v, "true or false", path)
	case protoreflect.Int32Kind:
		if n, ok := whole(v); ok && n >= math.MinInt32 && n <= math.MaxInt32 {
			return protoreflect.ValueOfInt32(int32(n)), true
		}
		d.wrong(v, "a whole number", path)
	case protoreflect.Int64Kind, protoreflect.Uint64Kind:
		if n, ok := whole(v); ok {
			if f.Kind() == protoreflect.Uint64Kind {
				return protoreflect.ValueOfUint64(uint64(n)), n >= 0
			}
			return protoreflect.ValueOfInt64(n), true
		}
		d.wrong(v, "a whole number", path)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		n, ok := v.(float64)
		if i, whole := v.(int64); whole {
			n, ok = float64(i), true
		}
		if ok && f.Kind() == protoreflect.FloatKind {
			return protoreflect.ValueOfFloat32(float32(n)), true
		}
		if ok {
			return protoreflect.ValueOfFloat64(n), true
		}
		d.wrong(v, "a number", path)
	default:
		d.add(path, "not supported yet: fields of this shape")
	}
	return protoreflect.Value{}, false
}

// whole reads a whole number, which JSON has as a text where it is long.
func whole(v any) (int64, bool) {
	switch x := v.(type) {
	case int64:
		return x, true
	case string:
		var n int64
		_, err := fmt.Sscanf(x, "%d", &n)
		return n, err == nil && fmt.Sprint(n) == x
	}
	return 0, false
}

func (d *decoder) wrong(v any, want, path string) { d.add(path, "%s", providers.Mismatch(want, v)) }
