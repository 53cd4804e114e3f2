package gcs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ray/internal/spec"
)

// Load builds the tables from what a store holds. Nodes come back as they
// were; the head gives each of them a full lease to register again.
func Load(rows Rows) (*Tables, error) {
	t := New()
	if text, ok := rows[tableMeta]["meta"]; ok {
		if err := json.Unmarshal(text, &t.meta); err != nil {
			return nil, fmt.Errorf("control state, table %s: %w", tableMeta, err)
		}
	}
	for key, value := range rows[tableKV] {
		ns, name, _ := strings.Cut(key, "\x00")
		t.kvSpace(ns)[name] = value
	}
	for uri, text := range rows[tablePackages] {
		var u uploaded
		if err := json.Unmarshal(text, &u); err != nil {
			return nil, fmt.Errorf("control state, table %s: %w", tablePackages, err)
		}
		t.packages[uri] = u
	}
	t.machines = rows[tableMachines]["table"]
	jobs, err := decode[spec.Job](rows, tableJobs)
	if err != nil {
		return nil, err
	}
	actors, err := decode[Actor](rows, tableActors)
	if err != nil {
		return nil, err
	}
	groups, err := decode[Group](rows, tableGroups)
	if err != nil {
		return nil, err
	}
	nodes, err := decode[spec.Node](rows, tableNodes)
	if err != nil {
		return nil, err
	}
	t.fill(jobs, actors, groups, nodes)
	for id, stored := range rows[tableStored] {
		var key spec.ActorID
		if err := key.UnmarshalText([]byte(id)); err != nil {
			return nil, fmt.Errorf("control state, table %s: %w", tableStored, err)
		}
		if a := t.actors[key]; a != nil {
			a.Create.Stored = stored
		}
	}
	return t, nil
}

// fill puts rows into the tables and remembers the ended ones, oldest first.
func (t *Tables) fill(jobs []*spec.Job, actors []*Actor, groups []*Group, nodes []*spec.Node) {
	slices.SortFunc(jobs, func(a, b *spec.Job) int { return cmp.Compare(a.EndMS, b.EndMS) })
	for _, j := range jobs {
		t.jobs[jobKey(j)] = j
		if Terminal(j.Status) {
			t.endedJobs.add(jobKey(j), keptJobs)
		}
	}
	slices.SortFunc(actors, func(a, b *Actor) int { return cmp.Compare(a.EndMS, b.EndMS) })
	for _, a := range actors {
		t.setActor(a)
		if a.Info.State == spec.ActorDead {
			t.endedActors.add(a.Info.ID, keptActors)
		} else if a.Info.Options.Name != "" {
			t.names[a.name()] = a.Info.ID
		}
	}
	slices.SortFunc(groups, func(a, b *Group) int { return cmp.Compare(a.Info.CreatedMS, b.Info.CreatedMS) })
	for _, g := range groups {
		t.keepGroup(g)
		if g.Info.State == spec.PGRemoved {
			t.endedGroups.add(g.Info.ID, keptGroups)
		} else {
			g.resume()
		}
	}
	slices.SortFunc(nodes, func(a, b *spec.Node) int { return cmp.Compare(a.EndMS, b.EndMS) })
	for _, n := range nodes {
		t.nodes[n.ID] = n
		if n.State == spec.NodeDead {
			t.endedNodes.add(n.ID, keptNodes)
		}
	}
}

func decode[T any](rows Rows, table string) ([]*T, error) {
	out := make([]*T, 0, len(rows[table]))
	for key, text := range rows[table] {
		v := new(T)
		if err := json.Unmarshal(text, v); err != nil {
			return nil, fmt.Errorf("control state, table %s, row %s: %w", table, key, err)
		}
		out = append(out, v)
	}
	return out, nil
}
