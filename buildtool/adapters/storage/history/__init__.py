"""What a build server keeps of the work that was done."""
