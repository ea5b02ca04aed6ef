"""`python -m benchmarks.peers`: measures vecna and its peers; `--report FILE` shows an earlier run again."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from benchmarks.peers import plots, report
from benchmarks.peers.catalogue import BY_NAME, PEERS
from benchmarks.peers.figures import Figures
from benchmarks.peers.runner import SCENARIOS, Plan, carry_out
from benchmarks.peers.sizes import QUICK, Sizes
from benchmarks.redis_server import redis_url


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Measure vecna and its peers.")
    parser.add_argument("--peers", type=_names(BY_NAME), default=list(BY_NAME), metavar="A,B", help=", ".join(BY_NAME))
    parser.add_argument(
        "--scenarios", type=_names(SCENARIOS), default=list(SCENARIOS), metavar="A,B", help=", ".join(SCENARIOS)
    )
    parser.add_argument(
        "--settings", type=_names({"fast": 1, "safe": 1}), default=["fast", "safe"], metavar="fast,safe"
    )
    parser.add_argument("--rounds", type=int, help="how often what is compared is measured (3; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, one round, one setting of each")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times the usual sizes")
    parser.add_argument("--json", type=Path, default=Path("peers.json"), metavar="FILE", help="raw figures go there")
    parser.add_argument("--report", type=Path, metavar="FILE", help="measure nothing: show the figures of this file")
    parser.add_argument(
        "--docs", type=Path, metavar="FOLDER", help="write table and plots into this folder's performance.md"
    )
    options = parser.parse_args()
    if options.report is None:
        sizes = (QUICK if options.quick else Sizes()).scaled(options.scale)
        plan = Plan(
            peers=[peer for peer in PEERS if peer.name in options.peers],
            settings=options.settings,
            scenarios=options.scenarios,
            rounds=options.rounds or (1 if options.quick else 3),
            sizes=sizes,
            thorough=not options.quick,
            file=options.json,
        )
        os.environ.pop("BENCH_REDIS", None)  # the server is emptied before each step: never that of somebody else
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
        try:
            with redis_url() as url:
                carry_out(plan, url)
        except KeyboardInterrupt:
            sys.exit(f"interrupted; what was measured is in {options.json} (--report {options.json})")
    figures = Figures(json.loads((options.report or options.json).read_text()))
    print(report.markdown(figures))
    if options.docs:
        report.write(figures, options.docs / "performance.md", plots.write(figures, options.docs / "performance"))


def _names(known):
    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    main()
