"""What forges send when something happened in a repository: whose word it is, and what it says."""
