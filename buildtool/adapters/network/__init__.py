"""What all ports share: which connections are kept, what they may take, and how addresses are reached."""
