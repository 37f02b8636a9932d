"""What is told elsewhere than by mail: to whom, of what, in which words, and what an answer comes to."""
