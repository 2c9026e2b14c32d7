"""Broken and hostile image files, made from a seed, and what the readers of `cellcycle.images` do with them.

Run: python -m benchmarks.fuzz [--number 10000] [--seed 0] [--only NUMBER|NAME] [--record]

`seeds` makes a small good file of every kind, `mutate` breaks them (TIFF by its own grammar, in `tiff`), `crafted`
holds those that somebody would have to think of, `verdict` reads one file and says whether the reader kept its word:
a plane of float32 in [0, 1], or one line that names the file; within the limits, silently, opening nothing else.
"""
