"""How driver and workers log."""
