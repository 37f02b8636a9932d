"""The build server's shell: orders and slots, one attempt, its log, and what is finished until it is delivered."""
