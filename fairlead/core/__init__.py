"""The shared vocabulary and the ports. Standard library and msgspec only; no loop, no clock, no I/O."""
