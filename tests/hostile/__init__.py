"""Peers that mean harm, as processes beside a real farm: the attacks, and the honest visitor who must not notice."""
