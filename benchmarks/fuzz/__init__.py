"""Fuzzing of the readers in `cellcycle.images`: broken and hostile image files, made from a seed.

Run: python -m benchmarks.fuzz [--number 10000] [--seed 0] [--only NUMBER|NAME] [--record]

`seeds` makes a small valid file of every kind, `mutate` breaks them (TIFF by its structure, in `tiff`), `crafted`
has attacks that random changes would not find. `verdict` reads one file and checks that the reader returns a plane of
float32 in [0, 1], or raises one line that names the file; within the limits, silently, and opening no other file.
"""
