package aws

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/aws/smithy-go"

	"ray/providers"
)

// causes are EC2's and IAM's codes for which more is known than the text says.
var causes = map[string]providers.Cause{
	"InsufficientInstanceCapacity": providers.Capacity, "InsufficientHostCapacity": providers.Capacity,
	"InsufficientCapacityOnHost": providers.Capacity, "InsufficientReservedInstanceCapacity": providers.Capacity,
	"SpotMaxPriceTooLow": providers.Capacity, "InsufficientAddressCapacity": providers.Capacity,
	"InsufficientFreeAddressesInSubnet": providers.Capacity, "Unsupported": providers.Capacity,

	"InstanceLimitExceeded": providers.Quota, "VcpuLimitExceeded": providers.Quota, "MaxSpotInstanceCountExceeded": providers.Quota,
	"VolumeLimitExceeded": providers.Quota, "LimitExceeded": providers.Quota, "SecurityGroupLimitExceeded": providers.Quota,

	"UnauthorizedOperation": providers.Auth, "AccessDenied": providers.Auth, "AccessDeniedException": providers.Auth,
	"AuthFailure": providers.Auth, "InvalidClientTokenId": providers.Auth, "ExpiredToken": providers.Auth, "RequestExpired": providers.Auth,
	"ExpiredTokenException": providers.Auth, "RequestTimeTooSkewed": providers.Auth, "UnrecognizedClientException": providers.Auth,
	"SignatureDoesNotMatch": providers.Auth, "OptInRequired": providers.Auth, "Blocked": providers.Auth,

	"RequestLimitExceeded": providers.Transient, "Throttling": providers.Transient, "ThrottlingException": providers.Transient,
	"InternalError": providers.Transient, "Unavailable": providers.Transient, "ServiceUnavailable": providers.Transient,
	"InternalFailure": providers.Transient,
}

// reAction finds the permission that was missing in IAM's sentence.
var reAction = regexp.MustCompile(`not authorized to perform:? ([a-z0-9-]+:[A-Za-z*]+)`)

var hints = map[providers.Cause]string{
	providers.Capacity:  "list more zones or InstanceTypes, or set SpotFallback: true in the node_config",
	providers.Quota:     "ask for a higher quota in the Service Quotas console, or end other machines",
	providers.Transient: "run the command again",
}

// failed gives an error of a call its cause, and what to do.
func failed(op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &providers.Error{Op: op, Cause: providers.BadConfig, Err: err}
	var api smithy.APIError
	if !errors.As(err, &api) {
		e.Cause = providers.Transient
		e.Hint = hints[providers.Transient]
		switch text := err.Error(); {
		case strings.Contains(text, "SSO"), strings.Contains(text, "token has expired"):
			e.Cause, e.Hint = providers.Auth, "log in again: `aws sso login`"
		case strings.Contains(text, "credentials"):
			e.Cause, e.Hint = providers.Auth, "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`"
		}
		return e
	}
	e.Code, e.Err = api.ErrorCode(), errors.New(api.ErrorMessage())
	if c, ok := causes[e.Code]; ok {
		e.Cause = c
	}
	e.Hint = hints[e.Cause]
	if e.Cause == providers.Auth {
		e.Hint = authHint(e.Code, api.ErrorMessage())
	}
	return e
}

func authHint(code, message string) string {
	switch {
	case strings.Contains(message, "Signature expired"), strings.Contains(message, "Signature not yet current"), code == "RequestTimeTooSkewed":
		return "the clock of this machine is wrong: set it"
	}
	switch code {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return "the credentials have expired: log in again (`aws sso login`, or new AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN); is this machine's clock right?"
	case "OptInRequired", "Blocked":
		return "the account may not use this service yet: see the billing console"
	case "AuthFailure", "UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch":
		return "AWS does not know these credentials: check the access key, and that the region is enabled"
	}
	if m := reAction.FindStringSubmatch(message); m != nil {
		return "ask for the permission " + m[1]
	}
	return "the credentials lack the permission for this call"
}

// is tells whether the error has one of the codes.
func is(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode() == c || strings.HasSuffix(c, "*") && strings.HasPrefix(api.ErrorCode(), strings.TrimSuffix(c, "*")) {
			return true
		}
	}
	return false
}
