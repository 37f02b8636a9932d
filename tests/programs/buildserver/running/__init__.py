"""What a build server does beside its builds."""
