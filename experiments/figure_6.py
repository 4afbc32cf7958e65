"""Figure 6: with and without incremental training, over sparsity ratios.

Claimed (Appendix D.2): for ratios below 0.2 networks trained incrementally have a higher standard and a higher robust
accuracy than networks trained at the ratio from the start.
Drawn at the small scale: a quarter-width ResNet-18 and the small CNN on digits, natural training, epsilon 0.1. Both
networks of a ratio have as many epochs; the direct one spreads the preset's learning rates over all of them, the
incremental one lowers the ratio at the last, small rate, which the paper does not give. So it is not the paper's
comparison, and a larger rate may change it.
Seen: no gain. At 0.15 and 0.1 the two differ by less than the images can tell, but for what all attacks leave of the
CNN at 0.1, 0.31 against 0.38. At 0.05 and 0.02 the direct training has the higher standard accuracy: 0.92 against 0.82
and 0.80 against 0.65 on the ResNet, 0.94 against 0.86 and 0.87 against 0.71 on the CNN. All attacks leave more of it,
too: 0.15 against 0.03 and 0.10 against 0 on the ResNet, 0.24 against 0.11 and 0.13 against 0.05 on the CNN.
"""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from kwta_theory.report import plots
from kwta_theory.robustness import prediction
from kwta_theory.robustness.study import Row, Run, Study, Wanted, attack_note, main, points, robustness

# Of the ratios of the incremental training.
RATIOS = (0.15, 0.1, 0.05, 0.02)
SHOWN = {"standard": "no attack", "pgd": "left by PGD-20", "adaptive": "left by PGD-20 and adaptive"}
COLORS = {"standard": "#555555", "pgd": plots.PALETTE[1], "adaptive": plots.PALETTE[4]}


def pairs(run: Run, network: tuple[str, float]) -> list[tuple[float, Wanted, Wanted]]:
    """Ratio, the network trained incrementally, and the one trained at the ratio for as many epochs."""
    passed = run.lowered(network)
    return [
        (ratio, passed[ratio], run.direct(network, f"kwta-{ratio:g}", epochs=passed[ratio].until))
        for ratio in RATIOS
        if ratio in passed
    ]


def plan(run: Run) -> list[Wanted]:
    """The networks of the figure."""
    return [wanted for network in run.settings.networks[:2] for pair in pairs(run, network) for wanted in pair[1:]]


def measure(run: Run) -> Iterator[Row]:
    """Two rows for each architecture and ratio; both networks have the same number of epochs.

    ``p_standard``, ``p_pgd``, ``p_adaptive``: sign tests on the same images against "with is not better than without";
    ``q_`` against "without is not better than with".
    """
    for network in run.settings.networks[:2]:
        for ratio, lowered, direct in pairs(run, network):
            first, withs = robustness(run, run.network(lowered))
            second, withouts = robustness(run, run.network(direct))
            tests = {f"p_{name}": prediction.beats(withs[name], withouts[name]) for name in withs}
            tests |= {f"q_{name}": prediction.beats(withouts[name], withs[name]) for name in withs}
            named = {"network": network[0], "width_factor": network[1], "ratio": ratio, "epochs": lowered.until}
            for how, row in (("with", first), ("without", second)):
                run.say(f"{network[0]} {ratio:g} {how}: " + ", ".join(f"{name} {row[name]:.3f}" for name in SHOWN))
                yield named | {"incremental": how} | row | tests


def ratios_below(rows: list[Row], column: str, level: float) -> str:
    """The ratios whose p-value is below a level."""
    return " ".join(f"{row['ratio']:g}" for row in rows if row[column] < level) or "none"


def figure(run: Run, rows: list[Row]) -> Figure:
    """A panel for each architecture."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    drawn, axes = plots.panels(columns=len(networks), share_y=True)
    told = []
    for axis, network in zip(axes, networks, strict=True):
        for how, style, marker, factor in (("with", "-", "o", 0.985), ("without", ":", "s", 1.015)):
            part = [row for row in rows if (row["network"], row["incremental"]) == (network, how)]
            part = [row | {"place": row["ratio"] * factor} for row in part]
            for name, title in SHOWN.items():
                axis.plot([row["place"] for row in part], [row[name] for row in part], style, color=COLORS[name])
                label = f"{how} incremental training: {title}"
                plots.marks(axis, points(part, "place", name), label=label, color=COLORS[name], marker=marker)
        ratios = sorted({row["ratio"] for row in rows})
        axis.set(title=network, xlabel="sparsity ratio (logarithmic)", ylim=(0, 1.02), xscale="log")
        axis.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios], minor=False)
        axis.set_xticks([], minor=True)
        pairs = [row for row in rows if row["network"] == network and row["incremental"] == "with"]
        for name, title in SHOWN.items():
            better = ratios_below(pairs, f"p_{name}", 0.025 / len(pairs))
            worse = ratios_below(pairs, f"q_{name}", 0.025 / len(pairs))
            told.append(f"{network}, {title}: better {better}, worse {worse}")
    axes[0].set_ylabel("share of images classified correctly")
    plots.legend(drawn, columns=2)
    plots.caption(
        drawn,
        f"{attack_note(run, rows)} Both networks of a ratio are trained for as many epochs. Ratios at which "
        "incremental training is better or worse (sign tests on the same images, level 0.95 for the ratios of a curve "
        f"together): {'; '.join(told)}.",
    )
    return drawn


STUDY = Study("figure_6", __doc__ or "", measure, plan, {"figure_6": figure})

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
