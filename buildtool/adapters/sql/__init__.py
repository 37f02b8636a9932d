"""The database: tables, rows, and the stores that the shells and the pages read and write."""
