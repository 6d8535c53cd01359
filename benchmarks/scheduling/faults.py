"""Random small suites with every kind of claim and fault, for runs that must keep the invariants."""

from __future__ import annotations

from random import Random
from typing import Final

from benchmarks.scheduling.simulator import Faults, Outcome, Simulation, Suite
from benchmarks.scheduling.suites import truth
from pytest_perfcache.schedule.jobs import SESSION, Claim, Job, Order, Setup

CAPACITIES: Final = {"c": 2}


def random_run(seed: int) -> Outcome:
    """One simulated run; raises InvariantError when the scheduler did what it must never do."""
    random = Random(seed)
    suite = random_suite(random)
    workers = random.randrange(1, 9)
    return Simulation(
        suite,
        workers,
        order=random.choice(list(Order)) if random.random() < 0.3 else Order.AUTO,
        can_pause=random.random() < 0.7,
        start_up=random.uniform(0.0, 0.5),
        faults=random_faults(random, suite, workers),
    ).run()


def random_suite(random: Random) -> Suite:
    """Up to sixty tests whose true durations are off by half."""
    jobs = [_random_job(random, index) for index in range(random.randrange(1, 60))]
    return Suite(tuple(jobs), truth(jobs, random, 0.5), CAPACITIES)


def random_faults(random: Random, suite: Suite, workers: int) -> Faults:
    """Crashes with and without replacement, `-x`, late workers, in any mixture."""
    crashes = [random.uniform(0.0, 5.0) for _ in range(random.randrange(4))]
    failing = frozenset(job.key for job in suite.jobs if random.random() < 0.02)
    return Faults(
        crashes=crashes if random.random() < 0.6 else (),
        replaced=random.random() < 0.8,
        rerun_blamed=random.random() < 0.3,
        failing=failing if random.random() < 0.3 else frozenset(),
        late=[random.uniform(0.0, 2.0) for _ in range(workers)] if random.random() < 0.5 else (),
    )


def _random_job(random: Random, index: int) -> Job:
    module = f"test_{random.randrange(6)}.py"
    return Job(
        f"t{index}",
        random.lognormvariate(-2.0, 1.5),
        file=module,
        scopes=(SESSION, module),
        claims=tuple(claim for name in "abc" for claim in _random_claim(random, name, module)),
        setups=(Setup(module, random.choice((0.0, 0.1, 0.5))),) if random.random() < 0.3 else (),
        group=random.choice(("one", "two")) if random.random() < 0.1 else "",
        alone=random.random() < 0.05,
        failed_last=random.random() < 0.1,
        is_new=random.random() < 0.1,
    )


def _random_claim(random: Random, name: str, module: str) -> list[Claim]:
    """Most often none; else whole, shared, counted, or by a fixture of the module or the session."""
    part = random.randrange(1, CAPACITIES.get(name, 1) + 1)
    choices = [
        (0.10, Claim(name)),
        (0.10, Claim(name, shared=True)),
        (0.10, Claim(name, amount=part)),
        (0.04, Claim(name, holder="whole", scope=module)),
        (0.02, Claim(name, amount=1, holder="counted", scope=module)),
        (0.005, Claim(name, holder="long", scope=SESSION)),
    ]
    draw = random.random()
    for share, claim in choices:
        if draw < share:
            return [claim]
        draw -= share
    return []
