"""Names of the states in the cluster's tables, as tests of others compare them."""


class ActorTableData:
    """States of an actor, as ``ray.util.state`` and ``ray._private.state.actors`` print them."""

    DEPENDENCIES_UNREADY = "DEPENDENCIES_UNREADY"
    PENDING_CREATION = "PENDING_CREATION"
    ALIVE = "ALIVE"
    RESTARTING = "RESTARTING"
    DEAD = "DEAD"


class PlacementGroupTableData:
    """States of a placement group, as ``ray.util.placement_group_table`` prints them."""

    PENDING = "PENDING"
    PREPARED = "PREPARED"
    CREATED = "CREATED"
    REMOVED = "REMOVED"
    RESCHEDULING = "RESCHEDULING"
