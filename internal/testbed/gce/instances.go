package gce

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	reName       = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	reLabelKey   = regexp.MustCompile(`^[a-z][-_a-z0-9]{0,62}$`)
	reLabelValue = regexp.MustCompile(`^[-_a-z0-9]{0,63}$`)
)

func zoneURL(project, zone string) string {
	return "https://www.googleapis.com/compute/v1/projects/" + project + "/zones/" + zone
}

// insert makes an instance.
func (s *Server) insert(r *http.Request, body Resource) (Resource, error) {
	zone, name := r.PathValue("zone"), body.Text("name")
	if err := s.checkInstance(zone, body, r.URL.Query().Get("sourceInstanceTemplate") != ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := zone + "/" + name
	link := zoneURL(s.o.Project, zone) + "/instances/" + name
	if s.instances[key] != nil {
		return nil, refusedCall{http.StatusConflict, "alreadyExists", "The resource '" + link + "' already exists"}
	}
	if s.o.Refuse != nil {
		if refusal := s.o.Refuse(zone, body); refusal != nil {
			return s.begin("insert", zone, link, refusal, nil), nil
		}
	}
	i := clone(body)
	maps.Copy(i, Resource{
		"id": s.number("1000"), "status": "PROVISIONING", "zone": zoneURL(s.o.Project, zone), "selfLink": link,
		"creationTimestamp": time.Now().Format(time.RFC3339Nano), "labelFingerprint": s.number("l"),
	})
	if m, ok := i["metadata"].(map[string]any); ok {
		m["fingerprint"] = s.number("f")
	}
	s.instances[key] = i
	return s.begin("insert", zone, link, nil, func() { s.boot(i) }), nil
}

// boot lets an instance run.
func (s *Server) boot(i Resource) {
	n := s.count%250 + 2
	internal, external := fmt.Sprintf("10.128.0.%d", n), fmt.Sprintf("198.51.100.%d", n)
	if s.o.Boot != nil {
		var err error
		if internal, external, err = s.o.Boot(clone(i)); err != nil {
			i["status"], i["statusMessage"] = "TERMINATED", err.Error()
			return
		}
	}
	i["status"], i["lastStartTimestamp"] = "RUNNING", time.Now().Format(time.RFC3339Nano)
	for at, each := range list(i["networkInterfaces"]) {
		each["name"], each["networkIP"] = "nic"+strconv.Itoa(at), internal
		for _, access := range list(each["accessConfigs"]) {
			access["natIP"] = external
		}
	}
}

// checkInstance refuses what the real service would refuse.
func (s *Server) checkInstance(zone string, i Resource, template bool) error {
	if !reName.MatchString(i.Text("name")) {
		return invalid("Invalid value for field 'resource.name': '%s'. Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'", i.Text("name"))
	}
	labels, _ := i["labels"].(map[string]any)
	for k, v := range labels {
		value, ok := v.(string)
		if !reLabelKey.MatchString(k) || !ok || !reLabelValue.MatchString(value) {
			return invalid("Invalid value for field 'resource.labels': ''. Label key '%s' or value '%v' violates format constraints", k, v)
		}
	}
	machine := i.Text("machineType")
	if machine == "" && template {
		return nil
	}
	if !strings.Contains(machine, "zones/"+zone+"/machineTypes/") || machineTypes[last(machine)] == nil {
		return invalid("Invalid value for field 'resource.machineType': '%s'. The referenced resource does not exist.", machine)
	}
	if !template && (len(list(i["disks"])) == 0 || len(list(i["networkInterfaces"])) == 0) {
		return invalid("Invalid value for field 'resource.disks': ''. No disks or no network interfaces are specified.")
	}
	scheduling, _ := i["scheduling"].(map[string]any)
	if len(list(i["guestAccelerators"])) > 0 && scheduling["onHostMaintenance"] != "TERMINATE" {
		return invalid("Instances with guest accelerators do not support live migration.")
	}
	return nil
}

// list gives the mappings in a JSON list.
func list(v any) []map[string]any {
	var out []map[string]any
	items, _ := v.([]any)
	for _, each := range items {
		if m, ok := each.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func clone(r Resource) Resource {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // it came from JSON
	}
	var out Resource
	_ = json.Unmarshal(data, &out)
	return out
}

// find gives a live instance.
func (s *Server) find(r *http.Request) (Resource, error) {
	s.settle(time.Now())
	if i := s.instances[r.PathValue("zone")+"/"+r.PathValue("name")]; i != nil {
		return i, nil
	}
	return nil, missing(r.URL.Path)
}

func (s *Server) get(r *http.Request, _ Resource) (Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(r)
	return clone(i), err
}

func (s *Server) remove(r *http.Request, _ Resource) (Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(r)
	if err != nil {
		return nil, err
	}
	return s.end(i, "delete", true), nil
}

// end stops an instance, or deletes it.
func (s *Server) end(i Resource, kind string, gone bool) Resource {
	i["status"] = "STOPPING"
	zone := last(i.Text("zone"))
	return s.begin(kind, zone, i.Text("selfLink"), nil, func() {
		i["status"] = "TERMINATED"
		if gone {
			delete(s.instances, zone+"/"+i.Text("name"))
		}
		if s.o.Ended != nil {
			s.o.Ended(clone(i))
		}
	})
}

// Preempt takes an instance back, as the cloud does with a spot one.
func (s *Server) Preempt(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.instances {
		if i.Text("name") == name {
			scheduling, _ := i["scheduling"].(map[string]any)
			s.end(i, "compute.instances.preempted", scheduling["instanceTerminationAction"] == "DELETE")
			return nil
		}
	}
	return missing(name)
}

func (s *Server) change(r *http.Request, body Resource) (Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(r)
	if err != nil {
		return nil, err
	}
	zone, verb := r.PathValue("zone"), r.PathValue("verb")
	stale := refusedCall{http.StatusPreconditionFailed, "conditionNotMet", "Fingerprint does not match."}
	switch verb {
	case "setLabels":
		if body.Text("labelFingerprint") != i.Text("labelFingerprint") {
			return nil, stale
		}
		i["labels"], i["labelFingerprint"] = body["labels"], s.number("l")
	case "setMetadata":
		now, _ := i["metadata"].(map[string]any)
		if have, _ := now["fingerprint"].(string); body.Text("fingerprint") != have {
			return nil, stale
		}
		body["fingerprint"] = s.number("f")
		i["metadata"] = map[string]any(body)
	case "stop":
		return s.end(i, "stop", false), nil
	case "start":
		i["status"] = "STAGING"
		return s.begin("start", zone, i.Text("selfLink"), nil, func() { s.boot(i) }), nil
	default:
		return nil, missing(r.URL.Path)
	}
	return s.begin(verb, zone, i.Text("selfLink"), nil, nil), nil
}

// page gives the rows of one answer and the token of the next.
func (s *Server) page(r *http.Request, zone string) ([]Resource, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(time.Now())
	keep, err := parseFilter(r.URL.Query().Get("filter"))
	if err != nil {
		return nil, "", err
	}
	var rows []Resource
	for _, key := range slices.Sorted(maps.Keys(s.instances)) {
		if i := s.instances[key]; keep(i) && (zone == "" || strings.HasPrefix(key, zone+"/")) {
			rows = append(rows, clone(i))
		}
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("pageToken"))
	from = min(from, len(rows))
	if to := from + s.o.PageSize; to < len(rows) {
		return rows[from:to], strconv.Itoa(to), nil
	}
	return rows[from:], "", nil
}

func (s *Server) list(r *http.Request, _ Resource) (Resource, error) {
	rows, next, err := s.page(r, r.PathValue("zone"))
	return Resource{"kind": "compute#instanceList", "items": rows, "nextPageToken": next}, err
}

func (s *Server) aggregated(r *http.Request, _ Resource) (Resource, error) {
	rows, next, err := s.page(r, "")
	zones := map[string]any{}
	for _, z := range s.o.Zones {
		zones["zones/"+z] = map[string]any{"warning": map[string]any{"code": "NO_RESULTS_ON_PAGE"}}
	}
	for _, i := range rows {
		key := "zones/" + last(i.Text("zone"))
		have, _ := zones[key].(map[string]any)["instances"].([]Resource)
		zones[key] = map[string]any{"instances": append(have, i)}
	}
	return Resource{"kind": "compute#instanceAggregatedList", "items": zones, "nextPageToken": next}, err
}

// Instances lists what exists, by name.
func (s *Server) Instances() []Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(time.Now())
	var out []Resource
	for _, key := range slices.Sorted(maps.Keys(s.instances)) {
		out = append(out, clone(s.instances[key]))
	}
	return out
}
