"""What is kept, and what is gone, in the database."""
