"""The study: its profiles, its experiments, the runner of its notebooks, and the texts computed from its records."""

from cellcycle.study.profiles import PROFILES, Profile, load_profile

__all__ = ["PROFILES", "Profile", "load_profile"]
