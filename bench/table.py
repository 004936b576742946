"""The table that `make bench` prints: streams, floor, everything else, goals. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cycles import Cycle, step_cpu
from bench.figures import Results, Row
from bench.goals import evaluate
from bench.start import described

HEAD = (
    "streams",
    "whole",
    "× ideal",
    "first p50",
    "p95",
    "added p50",
    "p99",
    "tokens/frame",
    "longest gap",
    "µs/token",
)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with aligned cells: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def streams(rows: Sequence[Row], floor: Results | None = None, *, name: str = "") -> list[str]:
    """Return lines for rows; with `floor`, each figure also as a multiple of the floor's."""
    cells = [HEAD]
    for row in rows:
        base = floor.floor_at(row.streams) if floor else None
        label = f"{name}{row.streams}" + (f" ({row.webs} web, {row.workers} workers)" if row.webs > 1 else "")
        cells.append(
            (
                label,
                f"{row.finished}",
                f"{row.wall:.2f}",
                _times("first_p50", row, base),
                _times("first_p95", row, base),
                _times("added_p50", row, base),
                _times("added_p99", row, base),
                f"{row.tokens_per_frame:.2f}",
                f"{row.gap:.0f}",
                _times("cpu_of_all", row, base),
            )
        )
    return aligned(cells)


def by_process(rows: Sequence[Row]) -> list[str]:
    """Return lines for each kind of process: microseconds of processor time for each token, and MiB."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.cpu))
    beside = list(dict.fromkeys(kind for row in rows for kind in row.beside))
    cells = [("µs/token (MiB)", *kinds, "all", *(f"[{kind}]" for kind in beside))]
    for row in rows:
        label = f"{row.streams}" + (f" ({row.webs} web, {row.workers} workers)" if row.webs > 1 else "")
        each = [f"{row.cpu.get(kind, 0):.0f} ({row.memory.get(kind, 0):.0f})" for kind in kinds]
        total = f"{row.cpu_of_all:.0f} ({sum(row.memory.values()):.0f})"
        cells.append((label, *each, total, *(f"{row.beside.get(kind, 0):.0f}" for kind in beside)))
    return aligned(cells)


def cycles(turns: Sequence[Cycle], steps: Sequence[Cycle]) -> list[str]:
    """Return the rows of turns and of steps, each with its processor time by process."""
    cells: list[tuple[str, ...]] = []
    if turns:
        kinds = list(turns[0].cpu)
        beside = [f"[{kind}]" for kind in turns[0].beside]
        cells.append(("turns", "turns/s", "first p50", "p95", "ms/turn", *kinds, *beside))
        for each in turns:
            figures = (f"{each.turns / each.seconds:.1f}", f"{each.first_p50:.1f}", f"{each.first_p95:.1f}")
            shares = [f"{used:.2f}" for used in (each.cpu_of_all, *each.cpu.values(), *each.beside.values())]
            cells.append((f"{each.sessions}", *figures, *shares))
    block = aligned(cells) if cells else []
    cells = []
    if steps:
        kinds = list(steps[0].cpu)
        cells.append(("steps", "steps/s", "next p50", "p95", "ms/step", *kinds))
        for each in steps:
            cost = step_cpu(each, turns)
            name = f"{each.sessions}" + (f" ({each.messages} messages)" if each.messages else "")
            figures = (f"{each.turns * each.tools / each.seconds:.1f}", f"{each.next_p50:.1f}", f"{each.next_p95:.1f}")
            cells.append((name, *figures, *(f"{used:.2f}" for used in (sum(cost.values()), *cost.values()))))
    return block + (["", *aligned(cells)] if cells else [])


def others(results: Results) -> list[str]:
    """Return a line for each of the other measurements."""
    lines = [described(results.start)] if results.start else []
    if first := results.first:
        lines.append(f"first token, {first.turns} turns one by one: p50 {first.p50:.1f} ms, p95 {first.p95:.1f} ms")
    lines += [
        f"{each.api}: first token p50 {each.first_p50:.1f} ms, p95 {each.first_p95:.1f} ms ({each.turns} turns);"
        f" {each.finished} of {each.streams} streams whole, added p50 {each.added_p50:.0f} ms,"
        f" {each.cpu_of_all:.0f} µs/token ({', '.join(f'{kind} {used:.0f}' for kind, used in each.cpu.items())})"
        for each in results.apis
    ]
    if idle := results.idle:
        lines.append(
            f"{idle.sockets} idle sockets: {idle.kib:.1f} KiB each in the web processes, {idle.opening:.1f} ms of"
            f" processor time to open one; over {idle.seconds:.0f} s {_shares(idle.with_them)} of a core,"
            f" without them {_shares(idle.without)}"
        )
    lines += [
        f"attach to {each.events} events, {'folded' if each.folded else 'not folded'}, {each.how}:"
        f" p50 {each.p50:.0f} ms, worst {each.worst:.0f} ms ({each.frames} frames)"
        for each in results.attach
    ]
    lines += [
        f"set-up at {each.messages} messages: {each.from_accepted:.1f} ms from `accepted`,"
        f" {each.from_sent:.1f} ms from sending (medians of {each.turns})"
        for each in results.set_up
    ]
    if cancel := results.cancel:
        lines.append(
            f"cancel to closed connection, {cancel.stops} stops: p50 {cancel.p50:.0f} ms, p95 {cancel.p95:.0f} ms;"
            f" p50 while the model speaks {cancel.speaking_p50:.0f} ms, while it is silent {cancel.silent_p50:.0f} ms"
        )
    return lines


def goals(results: Results) -> list[str]:
    """Return a line for each goal and whether it is met."""
    verdicts = evaluate(results)
    width = max(len(verdict.goal) for verdict in verdicts)
    return [
        f"{verdict.mark} {verdict.goal.ljust(width)}  {verdict.measured}  (goal: {verdict.limit})"
        + (f"\n  because {verdict.reason}" if verdict.reason else "")
        + (f"\n  profile: {verdict.work.file}" if verdict.work else "")
        for verdict in verdicts
    ]


def table(results: Results) -> str:
    """Return the whole table."""
    machine = results.machine
    lines = [
        f"{machine['cpus']} × {machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}, "
        f"load before the run {machine['load']}",
        f"{results.arguments['tokens']} tokens at {results.arguments['rate']} a second; medians of "
        f"{results.arguments['runs']} runs; milliseconds; n× = multiple of the floor in the same run",
    ]
    if results.arguments["quick"]:
        lines.append("QUICK: less and shorter load than the goals mean; only to see that everything works.")
    if results.product:
        lines += ["", "The service", *streams([*results.product, *results.scaled], results)]
    if results.floor:
        lines += ["", "The floor: a bare relay", *streams(results.floor)]
    if results.product:
        lines += ["", "By process; in brackets what is not the service", *by_process(results.product + results.scaled)]
    if results.floor:
        lines += ["", *by_process(results.floor)]
    faults = sorted({fault for row in results.product + results.floor + results.scaled for fault in row.faults})
    lines += ["", *(f"FAULT: {fault}" for fault in faults)] if faults else []
    if results.turns:
        lines += ["", "Turns of one token, one after the other; in brackets what is not the service"]
        lines += cycles(results.turns, results.steps)
    lines += ["", *others(results), "", *goals(results)]
    return "\n".join(lines)


def _times(figure: str, row: Row, base: Row | None) -> str:
    value, floor = getattr(row, figure), getattr(base, figure, None)
    return f"{value:.0f}" + (f" {value / floor:.0f}×" if floor else "")


def _shares(shares: dict[str, float]) -> str:
    each = ", ".join(f"{kind} {share:.1f}" for kind, share in shares.items())
    return f"{sum(shares.values()):.1f} % ({each})"
