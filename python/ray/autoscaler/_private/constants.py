"""Numbers of the autoscaler by upstream's names."""

#: Seconds within which the autoscaler has seen a change; it looks when something changes, not by the clock.
AUTOSCALER_UPDATE_INTERVAL_S = 5
