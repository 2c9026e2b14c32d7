"""The fit of the G1 peak: right on simulated mixtures, honest where there is none."""

import numpy as np
import pytest

from cellcycle.dna_content import LEAST_NUCLEI, _histogram, _mixture, count_near, fit_g1_peak, phase_likelihoods
from cellcycle.report.shares import estimated_shares


def population(n=600, g1=37.0, cv=0.08, shares=(0.5, 0.25, 0.25), ratio=2.0, outliers=0.03, seed=0):
    """Return the DNA of G1, S and G2 nuclei with a few outliers."""
    rng = np.random.default_rng(seed)
    true = np.concatenate([
        np.full(int(n * shares[0]), g1),
        g1 * rng.uniform(1, ratio, int(n * shares[1])),
        np.full(int(n * shares[2]), g1 * ratio),
    ])  # fmt: skip
    measured = true * rng.normal(1, cv, len(true))
    return np.concatenate([measured, g1 * np.exp(rng.uniform(-1.5, 1.8, int(n * outliers)))])


@pytest.mark.parametrize("cv", [0.05, 0.08, 0.12])
@pytest.mark.parametrize("g1", [37.0, 4e-3, 2e6])
def test_position_of_simulated_mixtures(cv, g1):
    peak = fit_g1_peak(population(g1=g1, cv=cv))
    assert peak.is_usable and peak.reason == ""
    assert peak.position == pytest.approx(g1, rel=0.03)
    assert peak.cv == pytest.approx(cv, rel=0.25) and 1.85 < peak.g2_ratio < 2.1
    assert sum(peak.fractions.values()) == pytest.approx(1)
    assert peak.fractions["G1"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_sharper_peaks_have_better_quality():
    qualities = [fit_g1_peak(population(cv=cv)).quality for cv in (0.05, 0.09, 0.13)]
    assert 1 > qualities[0] > qualities[1] > qualities[2] > 0


def test_more_g2_than_g1_does_not_mislead_the_fit():
    assert fit_g1_peak(population(shares=(0.25, 0.2, 0.55))).position == pytest.approx(37, rel=0.03)


def test_g2_below_twice_g1_is_followed():
    peak = fit_g1_peak(population(ratio=1.8, cv=0.06))
    assert peak.position == pytest.approx(37, rel=0.03) and peak.g2_ratio == pytest.approx(1.8, abs=0.06)


UNSUITABLE = {
    "one hump": lambda rng: rng.normal(10, 1, 800),
    "log-normal": lambda rng: rng.lognormal(1, 0.5, 800),
    "exponential": lambda rng: rng.exponential(1, 800),
    "uniform": lambda rng: rng.uniform(0, 1, 800),
    "S only": lambda rng: rng.uniform(1, 2, 800),
    "peaks at 1 and 4": lambda rng: np.concatenate([rng.normal(10, 1, 400), rng.normal(40, 4, 400)]),
    "G1 only": lambda rng: population(800, shares=(0.95, 0.05, 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNSUITABLE)
def test_fit_fails_honestly(name):
    peak = fit_g1_peak(UNSUITABLE[name](np.random.default_rng(0)))
    assert not peak.is_usable and peak.reason and np.isnan(peak.position)
    assert 0 <= peak.quality <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [150, 400])
@pytest.mark.parametrize(
    ("shares", "has_g1"),
    [((0, 1, 0), False), ((0, 0.7, 0.3), False), ((0, 0.2, 0.8), False), ((0.4, 0.45, 0.15), True)],
)
def test_a_culture_without_g1_is_told_from_one_that_grows(shares, has_g1, n, seed):
    peak = fit_g1_peak(population(n, shares=shares, cv=0.06, outliers=0.02, seed=seed))
    assert (peak.is_usable, peak.is_arrested) == (has_g1, not has_g1)


@pytest.mark.parametrize("values", [[], [1.0] * 30, [np.nan, -1, 0] * 100, [5.0] * 200])
def test_too_little_to_fit(values):
    peak = fit_g1_peak(np.array(values))
    assert not peak.is_usable and np.isnan(peak.position)


@pytest.mark.slow
def test_fit_is_deterministic_and_ignores_order():
    dna = population()
    assert fit_g1_peak(dna) == fit_g1_peak(dna[::-1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cv", [0.002, 0.01, 0.04, 0.1])
def test_one_peak_alone_is_no_g1_peak_and_raises_no_warning(cv):
    dna = np.random.default_rng(0).normal(2, 2 * cv, 138)
    assert "no two peaks" in fit_g1_peak(dna).reason


@pytest.mark.slow
def test_parts_of_nuclei_leave_s_and_the_peaks_as_they_are():
    rng = np.random.default_rng(2)
    phases = [np.full(300, 2.0), rng.uniform(2, 4, 150), np.full(90, 3.9)]
    whole = np.concatenate(phases) * rng.normal(1, 0.07, 540)
    parts = rng.uniform(0.9, 2, 160)

    def shares(dna):
        likely = phase_likelihoods(dna, 2.0)
        found = estimated_shares(likely, np.ones((1, len(dna))))[0]
        return found[:3] / found[:3].sum(), found[4]

    (alone, none), (among, some) = shares(whole), shares(np.concatenate([whole, parts]))
    np.testing.assert_allclose(among, alone, atol=0.06)
    np.testing.assert_allclose(alone, [300 / 540, 150 / 540, 90 / 540], atol=0.06)
    assert none < 0.05 and some == pytest.approx(160 / 700, abs=0.07)


def test_likelihoods_need_enough_nuclei():
    assert not phase_likelihoods(np.full(LEAST_NUCLEI - 1, 2.0), 2.0).any()
    assert not phase_likelihoods(np.full(2 * LEAST_NUCLEI, np.nan), 2.0).any()


def test_nuclei_without_an_amount_of_dna_are_counted_in_no_phase():
    dna = np.random.default_rng(1).normal(50, 4, 100)
    spoilt = np.concatenate([dna, [np.nan, np.inf, 0, -3]])
    assert count_near(spoilt, 50.0, 2.0) == count_near(dna, 50.0, 2.0)


@pytest.mark.parametrize("which", [{}, {"has_parts": True}, {"has_g1": False}])
def test_a_mixture_by_itself_is_what_it_is_among_several(which):
    counts, centres = _histogram(np.random.default_rng(0).normal(50, 5, 300))
    places = [np.array([np.log(50), np.log(40)]), np.array([0.1, 0.07]), np.array([1.9, 2.0])]
    found, shares = _mixture(counts, centres, *places, **which)
    for k in range(2):
        alone, own = _mixture(counts, centres, *(float(at[k]) for at in places), **which)
        np.testing.assert_allclose([alone, *own], [found[k], *shares[k]], rtol=1e-9)
