package gcs

import (
	"ray/internal/spec"
	"ray/internal/wire"
)

// Effect is something to do after a change: one of the types below.
type Effect interface{ isEffect() }

type (
	// StartActor tells Node (the owner, or the chosen node itself) to start an incarnation.
	StartActor struct {
		To    spec.NodeID
		Place wire.ActorPlace
	}
	// KillActor tells the node where an actor lives to end it.
	KillActor struct {
		To   spec.NodeID
		Kill wire.ActorKill
	}
	// ActorChanged tells the watchers of an actor its row.
	ActorChanged struct {
		To   []spec.NodeID
		Info spec.ActorInfo
	}
	// PrepareBundle asks a node to reserve; the answer goes to Tables.BundlePrepared.
	PrepareBundle struct {
		To      spec.NodeID
		Attempt int
		Bundle  wire.Bundle
	}
	// CommitBundle asks a node to open a reservation; the answer goes to Tables.BundleCommitted.
	CommitBundle struct {
		To      spec.NodeID
		Attempt int
		Bundle  wire.Bundle
	}
	// ReturnBundle gives a reservation back.
	ReturnBundle struct {
		To     spec.NodeID
		Bundle wire.Bundle
	}
	// GroupChanged wakes those who wait for a placement group.
	GroupChanged struct{ Info spec.PlacementGroup }
	// NodeChanged tells every node a row of the node table.
	NodeChanged struct{ Node spec.Node }
	// JobFinished tells every node to end what a job runs.
	JobFinished struct{ Finish wire.JobFinish }
	// Replan asks the scheduler to look at what waits for a place.
	Replan struct{}
	// Tell adds to the cluster's events.
	Tell struct{ Severity, Source, Message string }
)

func (StartActor) isEffect()    {}
func (KillActor) isEffect()     {}
func (ActorChanged) isEffect()  {}
func (PrepareBundle) isEffect() {}
func (CommitBundle) isEffect()  {}
func (ReturnBundle) isEffect()  {}
func (GroupChanged) isEffect()  {}
func (NodeChanged) isEffect()   {}
func (JobFinished) isEffect()   {}
func (Replan) isEffect()        {}
func (Tell) isEffect()          {}
