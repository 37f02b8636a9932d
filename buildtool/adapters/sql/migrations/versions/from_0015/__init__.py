"""The revisions of the tables from the fifteenth on: no folder holds more than fourteen modules."""
