"""What a look at sources tells of how they are built, and the configuration that is written of it."""
