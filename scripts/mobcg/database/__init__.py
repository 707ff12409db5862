"""Room database: records → Parquet tables → checks → an immutable release directory that strangers can download."""
