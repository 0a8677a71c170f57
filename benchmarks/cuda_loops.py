"""Loops of a disassembled function, and the way through them that moves whole vectors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from cuda_disassembly import Instruction

# Where control goes to next, by the index of an instruction.
Edges = Sequence[Sequence[int]]


class Way(NamedTuple):
    """Instructions of a piece of code, and how many of them move 16 bytes of global memory."""

    instructions: int
    accesses: int

    @property
    def per_access(self) -> float:
        return self.instructions / self.accesses


class Steady(NamedTuple):
    """Where a kernel spends its time.

    Attributes:
        is_loop: whether this is a loop, or the whole kernel for want of one.
        whole: all instructions, those of every path.
        path: of the paths that make the most accesses, the one with the most instructions: all
            is done, but no vector is taken apart.
        indices: of the instructions.
    """

    is_loop: bool
    whole: Way
    path: Way
    indices: frozenset[int]


def edges_of(instructions: Sequence[Instruction]) -> Edges:
    """Return the control flow of one function; what it calls comes back behind the call."""
    index = {each.address: i for i, each in enumerate(instructions)}
    joins: dict[str, int] = {}
    edges = []
    for i, each in enumerate(instructions):
        following = [i + 1] if i + 1 < len(instructions) else []
        first, _, last = each.operands.rpartition(", ")
        if each.name == "BSSY":
            joins[first] = index[int(last, 16)]
        elif each.name == "BSYNC":
            following = [joins[last]] if last in joins else following
        elif each.name == "BRA":
            is_taken_always = not each.predicate and not first
            following = [*([] if is_taken_always else following), index[int(last, 16)]]
        elif each.name in ("EXIT", "RET") and not each.predicate:
            following = []
        edges.append(following)
    return edges


def loops_of(edges: Edges) -> dict[int, set[int]]:
    """Return the natural loops: their instructions by the one that they are entered at."""
    before = defaultdict(list)
    for i, following in enumerate(edges):
        for each in following:
            before[each].append(i)
    loops: dict[int, set[int]] = {}
    for tail, following in enumerate(edges):
        for head in following:
            if head < tail and (body := _body(before, head, tail)):
                loops.setdefault(head, set()).update(body)
    return loops


def _body(before: dict[int, list[int]], head: int, tail: int) -> set[int]:
    """Return what leads to `tail` behind `head`: nothing if that is entered elsewhere, too."""
    body, found = {head, tail}, [tail]
    while found:
        new = [each for each in before[found.pop()] if each not in body]
        body.update(new)
        found.extend(new)
    return set() if 0 in body and head != 0 else body


def steady_part(instructions: Sequence[Instruction]) -> Steady:
    """Return the innermost loop with the most accesses of 16 bytes, or else the whole kernel."""
    edges = edges_of(instructions)
    moving = {
        head: body
        for head, body in loops_of(edges).items()
        if _all_of(instructions, body).accesses > 0
    }
    innermost = {
        head: body
        for head, body in moving.items()
        if not any(other < body for other in moving.values())
    }
    if not innermost:
        body = _reached(edges, 0)
        ends = [i for i in body if not edges[i]]
        return _steady(instructions, edges, body, 0, ends, is_loop=False)
    head, body = max(innermost.items(), key=lambda each: _all_of(instructions, each[1]).accesses)
    ends = [i for i in body if head in edges[i]]
    return _steady(instructions, edges, body, head, ends, is_loop=True)


def _steady(
    instructions: Sequence[Instruction],
    edges: Edges,
    body: set[int],
    head: int,
    ends: Iterable[int],
    is_loop: bool,
) -> Steady:
    whole = _all_of(instructions, body)
    path = _longest_path(instructions, edges, body, head, ends)
    return Steady(is_loop, whole, path, frozenset(body))


def _all_of(instructions: Sequence[Instruction], body: Collection[int]) -> Way:
    return Way(len(body), sum(instructions[i].is_wide_access for i in body))


def _longest_path(
    instructions: Sequence[Instruction],
    edges: Edges,
    body: set[int],
    head: int,
    ends: Iterable[int],
) -> Way:
    order = _order(edges, body, head)
    place = {each: i for i, each in enumerate(order)}
    longest = {head: (int(instructions[head].is_wide_access), 1)}
    for each in order:
        accesses, length = longest[each]
        for following in edges[each]:
            if place.get(following, -1) > place[each]:
                path = (accesses + instructions[following].is_wide_access, length + 1)
                longest[following] = max(longest.get(following, path), path)
    accesses, length = max(longest[end] for end in ends if end in longest)
    return Way(length, accesses)


def _order(edges: Edges, body: set[int], head: int) -> list[int]:
    """Return the body so that all lies behind what leads to it, but for ways back."""
    order, seen, stack = [], {head}, [(head, iter(edges[head]))]
    while stack:
        current, following = stack[-1]
        new = next((each for each in following if each in body and each not in seen), None)
        if new is None:
            order.append(current)
            stack.pop()
        else:
            seen.add(new)
            stack.append((new, iter(edges[new])))
    return order[::-1]


def _reached(edges: Edges, start: int) -> set[int]:
    reached, found = {start}, [start]
    while found:
        new = [each for each in edges[found.pop()] if each not in reached]
        reached.update(new)
        found.extend(new)
    return reached
