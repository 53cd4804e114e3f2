package gcp

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/api/googleapi"

	"ray/providers"
)

// causes are the service's codes for which more is known than the text says:
// reasons of refused calls, and error codes of operations.
var causes = map[string]providers.Cause{
	"ZONE_RESOURCE_POOL_EXHAUSTED": providers.Capacity, "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": providers.Capacity,
	"RESOURCE_POOL_EXHAUSTED": providers.Capacity, "STOCKOUT": providers.Capacity, "stockout": providers.Capacity,
	"IP_SPACE_EXHAUSTED": providers.Capacity, "UNSUPPORTED_OPERATION": providers.Capacity,

	"QUOTA_EXCEEDED": providers.Quota, "quotaExceeded": providers.Quota, "limitExceeded": providers.Quota,

	"forbidden": providers.Auth, "accessNotConfigured": providers.Auth, "authError": providers.Auth, "required": providers.Auth,
	"PERMISSIONS_ERROR": providers.Auth, "SERVICE_ACCOUNT_ACCESS_DENIED": providers.Auth,

	"rateLimitExceeded": providers.Transient, "userRateLimitExceeded": providers.Transient, "backendError": providers.Transient,
	"internalError": providers.Transient, "INTERNAL_ERROR": providers.Transient, "resourceNotReady": providers.Transient,
	"RESOURCE_NOT_READY": providers.Transient,
}

var hints = map[providers.Cause]string{
	providers.Capacity:  "name more zones in provider.availability_zone, more types in the node_config's machineTypes, or set spotFallback: true",
	providers.Quota:     "ask for a higher quota on the console's page IAM & Admin > Quotas, or end other machines",
	providers.Transient: "run the command again",
	providers.Auth:      "log in by `gcloud auth application-default login`, or point GOOGLE_APPLICATION_CREDENTIALS at a key file",
}

// rePermission finds the permission that was missing in the service's sentence.
var rePermission = regexp.MustCompile(`'?([a-z]+\.[a-zA-Z]+\.[a-zA-Z]+)'? permission`)

// failed gives an error of a call its cause, and what to do.
func failed(op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &providers.Error{Op: op, Cause: providers.BadConfig, Err: err}
	var api *googleapi.Error
	if !errors.As(err, &api) {
		e.Cause = providers.Transient
		if strings.Contains(err.Error(), "credentials") || strings.Contains(err.Error(), "oauth2") {
			e.Cause = providers.Auth
		}
		e.Hint = hints[e.Cause]
		if strings.Contains(err.Error(), "Invalid JWT") {
			e.Hint = "the clock of this machine is wrong, or the key has been withdrawn: set the clock, else make a new key"
		}
		return e
	}
	e.Err = errors.New(api.Message)
	if len(api.Errors) > 0 {
		e.Code = api.Errors[0].Reason
	}
	return explain(e, api.Code)
}

// operationError is the error with which an operation ended, nil if it ended well.
func operationError(op string, o *computepb.Operation) error {
	list := o.GetError().GetErrors()
	if len(list) == 0 {
		return nil
	}
	e := &providers.Error{Op: op, Cause: providers.BadConfig, Code: list[0].GetCode(), Err: errors.New(list[0].GetMessage())}
	return explain(e, int(o.GetHttpErrorStatusCode()))
}

// explain finds the cause by code, else by HTTP status, and says what to do.
func explain(e *providers.Error, status int) error {
	cause, known := causes[e.Code]
	switch {
	case known:
		e.Cause = cause
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		e.Cause = providers.Auth
	case status == http.StatusTooManyRequests || status >= 500:
		e.Cause = providers.Transient
	}
	e.Hint = hints[e.Cause]
	if e.Err == nil || e.Cause != providers.Auth {
		return e
	}
	if e.Code == "accessNotConfigured" {
		e.Hint = "enable the Compute Engine, IAM and Resource Manager APIs: gcloud services enable compute.googleapis.com iam.googleapis.com cloudresourcemanager.googleapis.com"
	} else if m := rePermission.FindStringSubmatch(e.Err.Error()); m != nil {
		e.Hint = "ask for the permission " + m[1] + " in the project"
	}
	return e
}

func statusOf(err error) int {
	var api *googleapi.Error
	if errors.As(err, &api) {
		return api.Code
	}
	return 0
}

func isNotFound(err error) bool { return statusOf(err) == http.StatusNotFound }
func isConflict(err error) bool { return statusOf(err) == http.StatusConflict }
func isStale(err error) bool    { return statusOf(err) == http.StatusPreconditionFailed }
