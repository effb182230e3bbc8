"""Records in the forms that others read: Process Run Crate, SLSA provenance."""
