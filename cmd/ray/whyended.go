package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// endedKinds are what the state API still knows after its end, with the
// columns of its name and of what it ended of.
var endedKinds = []struct{ kind, id, title, name, why string }{
	{"tasks", "task_id", "Task", "name", "error_message"},
	{"actors", "actor_id", "Actor", "class_name", "death_cause"},
}

// whyEnded says how a task or an actor has ended, by its whole id; "" if the
// cluster does not remember it.
func whyEnded(ctx context.Context, target statusTarget, id string) (string, error) {
	if target.url == "" {
		return "", nil
	}
	a := &api{base: target.url, token: target.token, client: &http.Client{}}
	for _, k := range endedKinds {
		query := url.Values{"limit": {"10"}, "detail": {"1"}, "filter_keys": {k.id}, "filter_predicates": {"="}, "filter_values": {id}}
		var rows []map[string]any
		if err := a.rows(ctx, k.kind, query, &rows); err != nil {
			return "", err
		}
		if len(rows) == 0 {
			continue
		}
		row := rows[len(rows)-1] // its last attempt
		text := fmt.Sprintf("%s %s (%v) is %v", k.title, id, row[k.name], row["state"])
		why := row[k.why]
		if cause, ok := why.(map[string]any); ok {
			why = cause["error_message"]
		}
		for _, said := range []any{why, row["error_type"]} {
			if said := strings.TrimSpace(cell(said)); said != "" {
				return text + ": " + said, nil
			}
		}
		return text, nil
	}
	return "", nil
}
