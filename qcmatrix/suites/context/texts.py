"""Long texts: prose, code and what is hidden in them. Pure: the same generator gives the same text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

__all__ = ["Chain", "Needle", "code_file", "hidden", "needle", "needles", "prose_line", "variable_chain"]

_WORDS = (
    "amber", "anchor", "apple", "arrow", "autumn", "barley", "basket", "beacon", "bottle", "bridge", "bucket", "butter",
    "cabin", "candle", "canyon", "carpet", "castle", "cedar", "cellar", "circle", "clover", "copper", "corner",
    "cotton", "cradle", "crystal", "dagger", "desert", "engine", "fabric", "feather", "fiddle", "forest", "fountain",
    "garden", "ginger", "glacier", "hammer", "harbour", "hazel", "helmet", "island", "ivory", "jacket", "kettle",
    "ladder", "lantern", "lemon", "letter", "linen", "marble", "meadow", "mirror", "morning", "mortar", "needle",
    "number", "oak", "orchard", "paper", "pebble", "pepper", "pillow", "planet", "pocket", "pottery", "prairie",
    "quarry", "rabbit", "ribbon", "river", "saddle", "sailor", "salmon", "shadow", "shelter", "silver", "slate",
    "spiral", "spring", "stable", "station", "summer", "sunset", "table", "tallow", "temple", "thunder", "timber",
    "tunnel", "valley", "velvet", "village", "violin", "walnut", "window", "winter", "wooden", "yarrow", "zephyr",
)  # fmt: skip
_VERBS = ("carries", "covers", "crosses", "finds", "follows", "guards", "holds", "keeps", "leaves", "meets", "passes")
_PLACES = (
    "Aldermoor", "Birchholm", "Calverton", "Dunwater", "Elmsford", "Fairlea", "Greyhaven", "Hollowby", "Inverleith",
    "Juniper Bay", "Kestrel Point", "Larkhill", "Mossgate", "Northwick", "Oakmere", "Pinefall", "Quillbrook",
    "Ravensea", "Stonebury", "Thornwick", "Underhill", "Vinecroft", "Westmarch", "Yarrowdale",
)  # fmt: skip
_PARTS = ("cache", "client", "config", "engine", "loader", "metrics", "parser", "queue", "router", "schema", "worker")


class Needle(msgspec.Struct, frozen=True):
    """A fact that stands in no other place."""

    place: str
    key: str
    """Seven digits."""

    @property
    def sentence(self) -> str:
        """As it stands in the text."""
        return f"The access number of {self.place} is {self.key}.\n"

    @property
    def question(self) -> str:
        """What it answers."""
        return f"What is the access number of {self.place}? Answer with the seven digits only."


class Chain(msgspec.Struct, frozen=True):
    """Variables that hold one value, each assigned from the one before."""

    names: tuple[str, ...]
    value: str

    @property
    def sentences(self) -> tuple[str, ...]:
        """The assignments, in order."""
        first = f"VAR {self.names[0]} = {self.value}.\n"
        rest = (f"VAR {name} = VAR {before}.\n" for before, name in zip(self.names, self.names[1:], strict=False))
        return (first, *rest)


def prose_line(rng: random.Random) -> str:
    """A sentence that means nothing, with its line feed."""
    first, second, third, fourth, fifth = (rng.choice(_WORDS) for _ in range(5))
    return f"The {first} {second} {rng.choice(_VERBS)} the {third} {fourth} of the {fifth}.\n"


def needle(rng: random.Random) -> Needle:
    """A place with a random key."""
    return needles(rng, 1)[0]


def needles(rng: random.Random, count: int) -> tuple[Needle, ...]:
    """So many (24 at most), of different places with different keys."""
    places = rng.sample(_PLACES, count)
    keys = rng.sample(range(1_000_000, 10_000_000), count)
    return tuple(Needle(place, str(key)) for place, key in zip(places, keys, strict=True))


def variable_chain(rng: random.Random, length: int) -> Chain:
    """A chain of ``length`` variables with random names."""
    names: dict[str, None] = {}
    while len(names) < length:
        names["".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(5))] = None
    return Chain(tuple(names), str(rng.randrange(10_000, 100_000)))


def code_file(rng: random.Random) -> str:
    """A small Python file of a repository dump, with its path above it."""
    part, word = rng.choice(_PARTS), rng.choice(_WORDS)
    number = rng.randrange(100, 1000)
    name = f"{word}_{part}_{number}"
    return (
        f"# file: src/{part}/{name}.py\n"
        f"def {word}_{number}(items, limit={rng.randrange(2, 90)}):\n"
        f'    """Takes the {rng.choice(_WORDS)} items up to the limit."""\n'
        f"    taken = [item for item in items if item.{rng.choice(_WORDS)} is not None]\n"
        f"    return taken[:limit]\n\n"
    )


def hidden(pieces: Sequence[str], secrets: Sequence[tuple[float, str]]) -> str:
    """``pieces`` joined, with each secret put in at its depth (0: first, 1: last)."""
    places = sorted(((round(depth * len(pieces)), text) for depth, text in secrets), key=lambda each: each[0])
    parts: list[str] = []
    done = 0
    for place, text in places:
        parts += pieces[done:place]
        parts.append(text)
        done = max(done, place)
    parts += pieces[done:]
    return "".join(parts)


PieceMaker = Callable[[random.Random], str]
"""Makes one piece of filler."""
