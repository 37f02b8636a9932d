"""What is asked of the metaserver in more than one step, in the same way on its machine and over the network."""
