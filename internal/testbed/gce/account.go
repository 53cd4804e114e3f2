package gce

import (
	"net/http"
	"strings"
)

// machineTypes are the types that exist in every zone: what they have.
var machineTypes = map[string]Resource{
	"n1-standard-2":    {"guestCpus": 2, "memoryMb": 7680},
	"n2-standard-4":    {"guestCpus": 4, "memoryMb": 16384},
	"e2-medium":        {"guestCpus": 2, "memoryMb": 4096},
	"a2-highgpu-1g":    {"guestCpus": 12, "memoryMb": 87040, "accelerators": []any{map[string]any{"guestAcceleratorType": "nvidia-tesla-a100", "guestAcceleratorCount": 1}}},
	"t2a-standard-1":   {"guestCpus": 1, "memoryMb": 4096, "architecture": "ARM64"},
	"c3-standard-8":    {"guestCpus": 8, "memoryMb": 32768},
	"n1-standard-8":    {"guestCpus": 8, "memoryMb": 30720},
	"custom-4-5120":    {"guestCpus": 4, "memoryMb": 5120},
	"e2-standard-16":   {"guestCpus": 16, "memoryMb": 65536},
	"n2d-standard-224": {"guestCpus": 224, "memoryMb": 917504},
}

func (s *Server) getMachineType(r *http.Request, _ Resource) (Resource, error) {
	t, ok := machineTypes[r.PathValue("name")]
	if !ok {
		return nil, missing(r.URL.Path)
	}
	out := clone(t)
	out["name"] = r.PathValue("name")
	return out, nil
}

func (s *Server) listZones(*http.Request, Resource) (Resource, error) {
	items := []any{}
	for _, z := range s.o.Zones {
		items = append(items, map[string]any{
			"name": z, "status": "UP", "region": "https://www.googleapis.com/compute/v1/projects/" + s.o.Project + "/regions/" + z[:strings.LastIndexByte(z, '-')],
		})
	}
	return Resource{"items": items}, nil
}

func (s *Server) listSubnetworks(r *http.Request, _ Resource) (Resource, error) {
	self := "https://www.googleapis.com/compute/v1/projects/" + s.o.Project + "/regions/" + r.PathValue("region") + "/subnetworks/default"
	return Resource{"items": []any{map[string]any{"name": "default", "selfLink": self}}}, nil
}

func (s *Server) getProject(*http.Request, Resource) (Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Resource{"name": s.o.Project, "commonInstanceMetadata": clone(s.metadata)}, nil
}

func (s *Server) setProjectMetadata(_ *http.Request, body Resource) (Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if body.Text("fingerprint") != s.metadata.Text("fingerprint") {
		return nil, refusedCall{http.StatusPreconditionFailed, "conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint."}
	}
	s.metadata = clone(body)
	s.metadata["fingerprint"] = s.number("m")
	return s.begin("setCommonInstanceMetadata", "", s.o.Project, nil, nil), nil
}

func (s *Server) lookAtProject(*http.Request, Resource) (Resource, error) {
	return Resource{"projectId": s.o.Project, "lifecycleState": "ACTIVE"}, nil
}

// projectPolicy reads or sets who may do what.
func (s *Server) projectPolicy(r *http.Request, body Resource) (Resource, error) {
	project, verb, _ := strings.Cut(r.PathValue("call"), ":")
	if project != s.o.Project {
		return nil, refusedCall{http.StatusForbidden, "forbidden", "The caller does not have permission"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch verb {
	case "getIamPolicy":
	case "setIamPolicy":
		given, _ := body["policy"].(map[string]any)
		if Resource(given).Text("etag") != s.policy.Text("etag") {
			return nil, refusedCall{http.StatusConflict, "aborted", "There were concurrent policy changes."}
		}
		s.policy = clone(given)
		s.policy["etag"] = s.number("cA=")
	default:
		return nil, missing(r.URL.Path)
	}
	return clone(s.policy), nil
}

func (s *Server) getAccount(r *http.Request, _ Resource) (Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[r.PathValue("account")]
	if a == nil {
		return nil, missing(r.URL.Path)
	}
	return clone(a), nil
}

func (s *Server) createAccount(_ *http.Request, body Resource) (Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	email := body.Text("accountId") + "@" + s.o.Project + ".iam.gserviceaccount.com"
	if s.accounts[email] != nil {
		return nil, refusedCall{http.StatusConflict, "alreadyExists", "Service account " + email + " already exists"}
	}
	s.accounts[email] = Resource{"email": email, "projectId": s.o.Project, "name": "projects/" + s.o.Project + "/serviceAccounts/" + email}
	return clone(s.accounts[email]), nil
}

// Roles lists the roles of a member, as in "serviceAccount:x@y".
func (s *Server) Roles(member string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, b := range list(s.policy["bindings"]) {
		members, _ := b["members"].([]any)
		for _, m := range members {
			if role, ok := b["role"].(string); ok && m == member {
				out = append(out, role)
			}
		}
	}
	return out
}
