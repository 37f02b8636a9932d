"""The figures of the farm: what each is called, how they are counted, and the alerts and pictures made of them."""
