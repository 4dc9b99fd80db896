"""Stores of secrets: the port, the providers that ship with fairlead, and how others are found."""
