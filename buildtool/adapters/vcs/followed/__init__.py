"""A git repository that a configuration follows: fetched with bounds, its commits checked, their files written."""
