"""The parts of the pages of one build and of one machine: what they show of time, of what was asked, of success."""
