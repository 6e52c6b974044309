"""A YAML text as a tree that still knows its lines and columns. Of YAML only the plain part: no aliases, tags, directives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.tokens import AliasToken, AnchorToken, DirectiveToken, ScalarToken, TagToken

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_BYTES = 256 * 1024
DEEPEST = 12

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong, and where: line and column count from 1."""

    line: int
    column: int
    words: str


class MappingInvalid(ValueError):
    """The text is no mapping; ``problems`` holds every reason."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        """Keep them sorted by place."""
        self.problems = sorted(problems)
        super().__init__("\n".join(f"{name}:{p.line}:{p.column}: {p.words}" for p in self.problems))


class _Constructor(RoundTripConstructor):
    """Leaves dates as they are written, so that one which is none can be told off with its place."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


def parse(text: str, name: str) -> Any:  # noqa: ANN401 - a YAML tree is anything until it is checked
    """Return the tree of a text that is a mapping; raise :class:`MappingInvalid` with the first thing that is wrong."""
    problem = _unreadable(text)
    if problem:
        raise MappingInvalid(name, [problem])
    yaml = YAML()
    yaml.Constructor = _Constructor
    try:
        problem = _unwanted(text)
        tree = None if problem else yaml.load(text)
    except MarkedYAMLError as broken:
        # A line without a colon is noticed only further down; the context says where it began.
        missing_colon = broken.context == "while scanning a simple key"
        at = broken.context_mark if missing_colon else broken.problem_mark or broken.context_mark
        words = " ".join(str(broken.problem or broken.context).split())
        raise MappingInvalid(name, [Problem(at.line + 1 if at else 1, at.column + 1 if at else 1, words)]) from None
    except (ValueError, IndexError) as broken:  # ruamel reads +_ as a number, and then finds that it is none
        raise MappingInvalid(name, [Problem(1, 1, f"a value cannot be read: {broken}")]) from None
    if not problem and not isinstance(tree, dict):
        problem = Problem(1, 1, "empty, or no mapping: start from the output of `outbook mapping init`")
    if problem:
        raise MappingInvalid(name, [problem])
    return tree


def _unreadable(text: str) -> Problem | None:
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_BYTES:
        return Problem(1, 1, f"larger than {LARGEST_BYTES // 1024} KB")
    found = _UNPRINTABLE.search(text, 1 if text.startswith("\ufeff") else 0)
    if not found:
        return None
    before = text[: found.start()]
    column = found.start() - (before.rfind("\n") + 1) + 1
    return Problem(before.count("\n") + 1, column, f"the character U+{ord(found[0]):04X} cannot stand here")


def _unwanted(text: str) -> Problem | None:
    depth = 0
    for token in YAML().scan(text):
        line, column = token.start_mark.line + 1, token.start_mark.column + 1
        if isinstance(token, AliasToken | AnchorToken):
            return Problem(line, column, "aliases (& and *) are not used here: write the value out")
        if isinstance(token, TagToken | DirectiveToken):
            return Problem(line, column, "tags (!) and directives (%) are not used here")
        if isinstance(token, ScalarToken) and token.plain and token.value == "<<":
            return Problem(line, column, "merge keys (<<) are not used here: write the lines out")
        opened = type(token).__name__
        depth += opened.endswith("StartToken") - opened.endswith("EndToken")
        if depth > DEEPEST:
            return Problem(line, column, "nested too deep")
    return None


def plain(node: Any) -> Any:  # noqa: ANN401 - see parse
    """Return the tree without its places."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node


def place(tree: Any, path: Sequence[Any], *, key: bool = False) -> tuple[int, int]:  # noqa: ANN401 - see parse
    """Return line and column of the value at ``path``, or of the nearest node above it that the file holds."""
    found, node = (1, 1), tree
    for depth, part in enumerate(path):
        if isinstance(node, CommentedMap) and part in node:
            # An empty value stands nowhere: what comes next in the file would be blamed.
            at_key = node[part] is None or (key and depth == len(path) - 1)
            spot = node.lc.key(part) if at_key else node.lc.value(part)
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and 0 <= part < len(node):
            spot = node.lc.item(part)
        else:
            break
        found, node = (spot[0] + 1, spot[1] + 1), node[part]
    return found
