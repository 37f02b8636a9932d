"""How what was decided is told: the ways, put together by the configuration."""
