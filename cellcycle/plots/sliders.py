"""A figure with sliders for notebooks with a running kernel, and its still picture everywhere else."""

import base64
import io


class Sliders:
    """Show the figure that `draw(**values)` returns below one slider per value, each (low, high, initial value).

    The output contains both the sliders and the first picture: without a kernel, as on the web or in the book, a
    notebook shows the picture, with a kernel the sliders. Needs ipywidgets.

    Examples
    --------
    >>> Sliders(print, cv=(0.02, 0.3, 0.1))
    Sliders(cv)
    """

    def __init__(self, draw, **sliders):
        self.draw, self.sliders = draw, sliders

    def __repr__(self):
        return f"Sliders({', '.join(self.sliders)})"

    def controls(self):
        """Return an ipywidgets widget with the sliders and the figure that they redraw."""
        from ipywidgets import FloatSlider, interactive

        sliders = {
            name: FloatSlider(first, min=low, max=high, step=(high - low) / 50, continuous_update=False)
            for name, (low, high, first) in self.sliders.items()
        }
        return interactive(self.draw, **sliders)

    def _repr_mimebundle_(self, **_):
        still = io.BytesIO()
        self.draw(**{name: first for name, (_, _, first) in self.sliders.items()}).savefig(still, dpi=100)
        picture = {"text/plain": repr(self), "image/png": base64.b64encode(still.getvalue()).decode()}
        return self.controls()._repr_mimebundle_() | picture
