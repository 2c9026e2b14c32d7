"""The study: its profiles, its experiments, and the runner of its notebooks."""

from cellcycle.study.profiles import PROFILES, Profile, load_profile

__all__ = ["PROFILES", "Profile", "load_profile"]
