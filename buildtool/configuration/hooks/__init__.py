"""The settings of deliveries by forges."""
