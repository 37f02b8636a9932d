"""Tests of what deploy/ has for an operator to install, each by the program that it is for."""
