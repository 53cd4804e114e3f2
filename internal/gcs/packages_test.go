package gcs

import (
	"encoding/json"
	"slices"
	"testing"

	"ray/internal/spec"
)

func env(uris ...string) json.RawMessage {
	text, _ := json.Marshal(map[string]any{"working_dir": uris[0], "py_modules": uris[1:]})
	return text
}

func TestPackagesGoWithTheLastThatRefersToThem(t *testing.T) {
	tables := New()
	unused := func(want ...string) {
		t.Helper()
		if got := tables.UnusedPackages(); !slices.Equal(got, want) {
			t.Fatalf("unused: %v, not %v", got, want)
		}
	}
	for _, uri := range []string{"gcs://a.zip", "gcs://b.zip", "gcs://c.zip"} {
		tables.PutPackage(uri, 7)
	}
	unused() // no job has used them yet
	for id, e := range map[string]json.RawMessage{"one": env("gcs://a.zip", "gcs://b.zip"), "two": env("gcs://a.zip")} {
		if _, err := tables.Submit(spec.Job{SubmissionID: id, RuntimeEnv: e}); err != nil {
			t.Fatal(err)
		}
		tables.UpdateSubmission(id, func(j *spec.Job) { j.Status = spec.JobSucceeded })
	}
	tables.DeleteJob("one")
	unused("gcs://b.zip")
	tables.DeleteJob("two")
	unused("gcs://a.zip", "gcs://b.zip")

	job, _ := tables.StartJob(spec.Job{RuntimeEnv: env("gcs://a.zip")}, 1)
	unused("gcs://b.zip")
	actor := &Actor{Info: spec.ActorInfo{ID: spec.ActorID{1}, JobID: job, State: spec.ActorAlive}}
	actor.Info.Options.Detached = true
	actor.Create.Stored = []byte(`{"runtime_env":{"working_dir":"gcs://b.zip"}}`)
	tables.setActor(actor)
	tables.FinishJob(job, "", false, 2)
	unused() // the detached actor lives on
	dead := *actor
	dead.Info.State = spec.ActorDead
	tables.setActor(&dead)
	unused("gcs://a.zip", "gcs://b.zip")

	if _, ok := tables.Package("gcs://a.zip"); !ok {
		t.Fatal("it is still there")
	}
	unused("gcs://b.zip") // who asked will use it
	tables.RemovePackage("gcs://b.zip")
	unused()
	if _, ok := tables.Package("gcs://b.zip"); ok {
		t.Fatal("it is gone")
	}
}

func TestPackageRowsOfAnEarlierHead(t *testing.T) {
	tables, err := Load(Rows{tablePackages: {"gcs://old.zip": []byte("42"), "gcs://new.zip": []byte(`{"size":1,"released":true}`)}})
	if err != nil {
		t.Fatal(err)
	}
	if got := tables.UnusedPackages(); !slices.Equal(got, []string{"gcs://new.zip"}) || tables.packages["gcs://old.zip"].Size != 42 {
		t.Fatalf("%v, %v", got, tables.packages)
	}
}
