"""Who is mailed about what, in the database."""
