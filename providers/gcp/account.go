package gcp

import (
	"context"
	"fmt"
	"slices"

	crm "google.golang.org/api/cloudresourcemanager/v1"
	"google.golang.org/api/iam/v1"

	"ray/providers"
)

// accountID is the service account that upstream makes once per project; the
// head acts in its name.
const accountID = "ray-autoscaler-sa-v1"

// roles are what the head needs: to make workers, to give them an account, to
// see roles, and to keep files.
var roles = []string{"roles/storage.objectAdmin", "roles/compute.admin", "roles/iam.serviceAccountUser", "roles/iam.roleViewer"}

const cloudScope = "https://www.googleapis.com/auth/cloud-platform"

// account gives the head the right to launch and end workers, unless the file
// gives it a service account.
func (s *setup) account(ctx context.Context) error {
	head := s.o.Config.HeadType
	if len(s.specs[head].instance.GetServiceAccounts()) > 0 {
		return nil
	}
	accounts, projects, err := s.identity(ctx)
	if err != nil {
		return err
	}
	email := accountID + "@" + s.project() + ".iam.gserviceaccount.com"
	if err := s.ensureAccount(ctx, accounts, email); err != nil {
		return err
	}
	for try := 1; !s.look; try++ { // which roles it has is not part of the file
		err := s.grant(ctx, projects, "serviceAccount:"+email)
		if err == nil {
			break
		}
		if !isConflict(err) || try >= launchTries { // somebody else changed the policy meanwhile
			return failed("give roles to "+email, err)
		}
	}
	s.config(head)["serviceAccounts"] = []any{map[string]any{"email": email, "scopes": []any{cloudScope}}}
	return nil
}

func (s *setup) ensureAccount(ctx context.Context, client *iam.Service, email string) error {
	project := "projects/" + s.project()
	_, err := client.Projects.ServiceAccounts.Get(project + "/serviceAccounts/" + email).Context(ctx).Do()
	if !isNotFound(err) {
		return failed("look for the service account "+email, err)
	}
	if s.look {
		return providers.ErrUnmade
	}
	_, err = client.Projects.ServiceAccounts.Create(project, &iam.CreateServiceAccountRequest{
		AccountId: accountID, ServiceAccount: &iam.ServiceAccount{DisplayName: "Ray Autoscaler Service Account (v1)"},
	}).Context(ctx).Do()
	if isConflict(err) {
		err = nil
	}
	return failed("make the service account "+email, err)
}

// grant adds the roles that the member lacks. Where it has them all nothing is
// written, so that a user without the right to write can go on.
func (s *setup) grant(ctx context.Context, client *crm.Service, member string) error {
	project, err := client.Projects.Get(s.project()).Context(ctx).Do()
	if err != nil {
		return err
	}
	if project.LifecycleState != "ACTIVE" {
		return &providers.Error{Cause: providers.BadConfig, Op: "use the project " + s.project(),
			Err: fmt.Errorf("it is %s, not ACTIVE", project.LifecycleState), Hint: "restore it, or name another in provider.project_id"}
	}
	policy, err := client.Projects.GetIamPolicy(s.project(), &crm.GetIamPolicyRequest{
		Options: &crm.GetPolicyOptions{RequestedPolicyVersion: 3},
	}).Context(ctx).Do()
	if err != nil {
		return err
	}
	if !bind(policy, member) {
		return nil
	}
	_, err = client.Projects.SetIamPolicy(s.project(), &crm.SetIamPolicyRequest{Policy: policy}).Context(ctx).Do()
	return err
}

// bind gives the member the roles in the policy and tells whether it lacked any.
func bind(policy *crm.Policy, member string) bool {
	changed := false
	for _, role := range roles {
		at := slices.IndexFunc(policy.Bindings, func(b *crm.Binding) bool { return b.Role == role && b.Condition == nil })
		switch {
		case at < 0:
			policy.Bindings = append(policy.Bindings, &crm.Binding{Role: role, Members: []string{member}})
		case slices.Contains(policy.Bindings[at].Members, member):
			continue
		default:
			policy.Bindings[at].Members = append(policy.Bindings[at].Members, member)
		}
		changed = true
	}
	return changed
}
