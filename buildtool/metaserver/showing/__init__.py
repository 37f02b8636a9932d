"""What is shown of the farm as a whole: what runs, against what is usual, and why what waits does."""
