"""Rented machines: a node provider with which Ray's cluster launcher runs on RunPod, and what looks after its cost."""
