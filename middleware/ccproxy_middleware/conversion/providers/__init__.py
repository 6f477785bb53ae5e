"""How providers differ: profiles, corrections learned from refusals, errors, limits."""
