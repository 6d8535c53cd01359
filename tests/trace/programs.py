"""Small programs with every shape of function; each leaves a ``result``, and names the functions that it enters."""

from __future__ import annotations

PROGRAMS: dict[str, tuple[str, set[str]]] = {
    "plain": (
        """\
def f(x, *a, k=1, **kw):
    return x + k
def g(): ...
result = f(1)
""",
        {"f"},
    ),
    "closure": (
        """\
def f(x):
    def g():
        nonlocal x
        x += 1
        return lambda: x
    return g
result = f(1)()()
""",
        {"f", "f.<locals>.g", "f.<locals>.g.<locals>.<lambda>"},
    ),
    "cell argument": (
        """\
def f(x):
    return [lambda: x for _ in range(2)][1]()
result = f(3)
""",
        {"f"},
    ),
    "generator": (
        """\
def g(n):
    for i in range(n):
        try:
            yield i
        finally:
            i = None
result = list(g(3))
""",
        {"g"},
    ),
    "generator that is closed and thrown into": (
        """\
seen = []
def g():
    while True:
        try:
            yield 1
        except KeyError:
            seen.append('k')
        finally:
            seen.append('f')
i = g()
next(i)
i.throw(KeyError)
i.close()
result = seen
""",
        {"g"},
    ),
    "generator expression": (
        """\
def f(xs):
    return sum(x * x for x in xs)
result = f([1, 2])
""",
        {"f", "f.<locals>.<genexpr>"},
    ),
    "delegation": (
        """\
def a():
    x = yield 1
    return x
def b():
    return (yield from a())
result = list(b())
""",
        {"a", "b"},
    ),
    "coroutine": (
        """\
import asyncio
class M:
    async def __aenter__(self): return 2
    async def __aexit__(self, *a): return True
async def g():
    yield 1
    yield 2
async def f():
    async with M() as m:
        raise ValueError
    return [x async for x in g()]
result = asyncio.run(f())
""",
        {"M.__aenter__", "M.__aexit__", "f", "g"},
    ),
    "exceptions": (
        """\
def f(x):
    try:
        try:
            return 1 / x
        except ZeroDivisionError as e:
            raise KeyError(x) from e
        finally:
            x = 5
    except KeyError as e:
        return (type(e.__cause__).__name__, e.__traceback__.tb_lineno, x)
result = f(0)
""",
        {"f"},
    ),
    "exception groups": (
        """\
def f():
    try:
        raise ExceptionGroup('g', [ValueError(1), KeyError(2)])
    except* ValueError as e:
        a = len(e.exceptions)
    except* KeyError:
        a += 1
    return a
result = f()
""",
        {"f"},
    ),
    "with": (
        """\
from contextlib import contextmanager
@contextmanager
def c():
    try:
        yield 4
    except ValueError:
        pass
def f():
    with c() as x, c() as y:
        raise ValueError
    return x + y
result = f()
""",
        {"c", "f"},
    ),
    "classes": (
        """\
class M(type):
    def __new__(m, n, b, d): return super().__new__(m, n, b, d)
class C(metaclass=M):
    def __init__(self): self.x = __class__.__name__
    @property
    def p(self): return self.x
result = C().p
""",
        {"C.__init__", "C.p", "M.__new__"},
    ),
    "recursion and loops": (
        """\
def f(n):
    while n > 10:
        n -= 1
        if n == 15:
            continue
    return n if n < 2 else f(n - 1) + f(n - 2)
result = f(20)
""",
        {"f"},
    ),
    "match": (
        """\
def f(x):
    match x:
        case {'a': [first, *rest]}: return first, rest
        case str(): return x
        case _: return None
result = f({'a': [1, 2]}), f('s'), f(1)
""",
        {"f"},
    ),
    "many constants": (
        "def f():\n    return (" + ", ".join(f"'c{n}' + x" for n in range(400)) + ",)\nx = '-'\nresult = f()[399]\n",
        {"f"},
    ),
    "a long body": (
        "def f(x):\n    try:\n"
        + "".join(f"        x = x + {n}\n" for n in range(600))
        + "        raise KeyError\n    except KeyError:\n        return x\nresult = f(0)\n",
        {"f"},
    ),
    "arguments and locals": (
        """\
def f(a, /, b, *, c):
    d = locals()
    return sorted(d)
result = f(1, 2, c=3)
""",
        {"f"},
    ),
    "docstring": (
        """\
def f():
    'said'
result = f.__doc__
""",
        set(),
    ),
}
