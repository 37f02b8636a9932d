"""What triggers remember, in the database."""
