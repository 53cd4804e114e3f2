"""Names that programs import from upstream's launcher."""
