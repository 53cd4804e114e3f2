package gcp

import (
	"context"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
	crm "google.golang.org/api/cloudresourcemanager/v1"
	"google.golang.org/api/iam/v1"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"ray/internal/cluster"
	"ray/providers"
)

// Kinds of gcp_credentials.
const (
	byAccount = "service_account"   // the JSON of a service account's key
	byToken   = "credentials_token" // an OAuth access token
)

// clientOptions say where the services are and who asks, and how.
func clientOptions(ctx context.Context, section cluster.Provider) ([]option.ClientOption, error) {
	options, err := credentials(section)
	if err != nil {
		return nil, err
	}
	transport, err := htransport.NewTransport(ctx, throttled{http.DefaultTransport}, append(options, option.WithScopes(cloudScope))...)
	if err != nil {
		return nil, failed("log in to Google Cloud", err)
	}
	return append(options, option.WithHTTPClient(&http.Client{Transport: transport})), nil
}

func credentials(section cluster.Provider) ([]option.ClientOption, error) {
	var out []option.ClientOption
	if at := section.Text("api_endpoint"); at != "" {
		out = append(out, option.WithEndpoint(at))
		if strings.HasPrefix(at, "http://") {
			// A token must not travel in the clear, and a test bed wants none.
			return append(out, option.WithoutAuthentication()), nil
		}
	}
	given := section.Section("gcp_credentials")
	kind, _ := given["type"].(string)
	secret, _ := given["credentials"].(string)
	switch {
	case given == nil:
	case secret == "":
		return nil, &providers.Error{Cause: providers.Auth, Op: "log in to Google Cloud", Hint: "give gcp_credentials.credentials, or remove gcp_credentials"}
	case kind == byAccount:
		out = append(out, option.WithAuthCredentialsJSON(option.ServiceAccount, []byte(secret)))
	case kind == byToken:
		out = append(out, option.WithTokenSource(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret})))
	default:
		return nil, &providers.Error{Cause: providers.BadConfig, Op: "log in to Google Cloud",
			Hint: "gcp_credentials.type is " + byAccount + " or " + byToken}
	}
	return out, nil
}

func (p *Provider) identity(ctx context.Context) (*iam.Service, *crm.Service, error) {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return nil, nil, err
	}
	accounts, err := iam.NewService(ctx, c.options...)
	if err != nil {
		return nil, nil, failed("log in to Google Cloud", err)
	}
	projects, err := crm.NewService(ctx, c.options...)
	return accounts, projects, failed("log in to Google Cloud", err)
}
