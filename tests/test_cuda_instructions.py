"""Loops are found in disassembled kernels, and what moves 16 bytes in them is counted right."""

from __future__ import annotations

import cuda_instructions
import pytest
from cuda_disassembly import functions
from cuda_instructions import AVAILABLE, family_of, markdown, steady_parts
from cuda_loops import Way, edges_of, loops_of, steady_part

COLUMN = "_ZN3stc4cuda13column_kernelINS0_7GateJobIfEELi4EiEEvT_NS0_10ColumnWalkIT1_EE"
SHIFT = "_ZN3stc4cuda12shift_kernelINS_8BFloat16ELi8EiEEvNS0_8ShiftJobIT_T1_EE"


def function(*code, symbol=COLUMN):
    lines = [f"\t\tFunction : {symbol}"]
    for i, each in enumerate(code):
        lines.append(f"        /*{16 * i:04x}*/    {each} ;    /* 0x0000000402047981 */")
        lines.append("                                  /* 0x000fe40000000f00 */")
    (found,) = functions(lines)
    assert len(found.instructions) == len(code)
    return found


def steady(*code):
    return steady_part(function(*code).instructions)


LOAD, STORE = "LDG.E.128 R4, desc[UR4][R2.64]", "STG.E.128 desc[UR4][R2.64], R4"
WORK, END = "FMUL R4, R4, R5", "EXIT"


class TestEdges:
    @pytest.mark.parametrize(
        ("code", "edges"),
        [
            ([WORK, END], [[1], []]),
            ([f"@P0 {END}", END], [[1], []]),
            (["BRA 0x20", WORK, END], [[2], [2], []]),
            (["@!P1 BRA 0x20", WORK, END], [[1, 2], [2], []]),
            (["BRA !P0, 0x20", WORK, END], [[1, 2], [2], []]),
            (["BRA.DIV UR4, 0x20", WORK, END], [[1, 2], [2], []]),
            (["@!UP0 BRA 0x20", WORK, END], [[1, 2], [2], []]),
            (["CALL.REL.NOINC 0x20", END, "RET.REL.NODEC R8 0x0"], [[1], [], []]),
            (["BSSY B0, 0x30", "BSYNC B0", WORK, END], [[1], [3], [3], []]),
        ],
    )
    def test_of_branches(self, code, edges):
        assert edges_of(function(*code).instructions) == edges


class TestLoops:
    def loops(self, *code):
        return loops_of(edges_of(function(*code).instructions))

    def test_of_one_block(self):
        assert self.loops(WORK, LOAD, WORK, "@P0 BRA 0x10", END) == {1: {1, 2, 3}}

    def test_none_where_a_branch_leads_back_into_a_path(self):
        code = ["@P0 BRA 0x30", WORK, END, WORK, "BRA 0x10", "BRA 0x50"]
        assert self.loops(*code) == {}

    def test_that_end_in_several_places(self):
        code = [WORK, "@P0 BRA 0x0", WORK, "@P1 BRA 0x0", END]
        assert self.loops(*code) == {0: {0, 1, 2, 3}}

    def test_parts_out_of_line(self):
        code = [WORK, "@P0 BRA 0x40", "@P1 BRA 0x0", END, WORK, "BRA 0x20"]
        assert self.loops(*code)[0] == {0, 1, 2, 4, 5}

    def test_the_trap_behind_the_end(self):
        assert self.loops(WORK, END, "BRA 0x20") == {}


class TestSteadyPart:
    def test_of_a_loop(self):
        found = steady(WORK, LOAD, WORK, STORE, "@P0 BRA 0x10", WORK, END)
        assert (found.is_loop, found.whole, found.path) == (True, Way(4, 2), Way(4, 2))
        assert found.indices == {1, 2, 3, 4}
        assert found.path.per_access == 2

    def test_is_the_innermost_loop(self):
        code = [LOAD, LOAD, WORK, LOAD, "@P0 BRA 0x20", "@P1 BRA 0x0", END]
        assert steady(*code).whole == Way(3, 1)

    def test_is_the_loop_with_the_most_accesses(self):
        edges = [LOAD, WORK, "@P0 BRA 0x0"]
        vectors = [LOAD, STORE, WORK, "@P0 BRA 0x30"]
        assert steady(*edges, *vectors, END).whole == Way(4, 2)

    def test_other_accesses_do_not_count(self):
        narrow = ["LDG.E.64 R4, [R2.64]", "LDS.128 R4, [R2]", "STG.E [R2.64], R4"]
        assert steady(*narrow, LOAD, "@P0 BRA 0x0", END).whole == Way(5, 1)

    def test_predicated_accesses_count(self):
        assert steady(f"@!P0 {LOAD}", "@P1 BRA 0x0", END).path == Way(2, 1)

    def test_the_path_computes_all_but_takes_no_vector_apart(self):
        compute = ["@P1 BRA 0x30", WORK, WORK]
        store = ["@P2 BRA 0x60", STORE, "BRA 0xa0", *["STG.E [R2.64], R4"] * 4]
        found = steady(*compute, *store, "@P0 BRA 0x0", END)
        assert found.whole == Way(11, 1)
        assert found.path == Way(7, 1)

    def test_without_a_loop_is_the_whole_kernel(self):
        code = ["@P0 BRA 0x30", LOAD, "BRA 0x40", WORK, STORE, END, "BRA 0x60", "NOP"]
        found = steady(*code)
        assert (found.is_loop, found.whole, found.path) == (False, Way(6, 2), Way(5, 2))

    def test_without_accesses(self):
        assert steady(WORK, "@P0 BRA 0x0", END).path == Way(3, 0)


def test_what_an_h100_can_issue():
    assert round(AVAILABLE) == 142


@pytest.mark.parametrize(
    ("title", "family"),
    [
        ("GateJob", "Gate"),
        ("ResidualSumsJob<true>", "Residual"),
        ("ToScratch<MomentsJob>", "Moments"),
        ("FromScratch<RefineSumsJob<false>>", "Refine"),
    ],
)
def test_families(title, family):
    assert family_of(title) == family


class TestTable:
    looping = function(LOAD, WORK, STORE, "@P0 BRA 0x0", END)
    whole = function(LOAD, STORE, WORK, WORK, WORK, END, symbol=SHIFT)

    def test_lists_kernels_with_and_without_loops(self):
        rows = steady_parts([self.looping, self.whole], ["float32", "bfloat16"])
        text = markdown(rows, "sm_90")
        assert "By this, memory is the limit of 2 of 2 kernels. Headroom below 2: none." in text
        assert "An estimate from the disassembly for sm_90: nothing was measured" in text
        assert "| `GateJob` | column | 2.0 (4 / 2) | 2.0 (4 / 2) | 70.8 |" in text
        assert "| `ShiftJob` | shift | 3.0 (6 / 2), no loop | 3.0 (6 / 2) | 47.2 |" in text

    def test_lists_kernels_without_accesses(self):
        idle = function(WORK, END)
        text = markdown(steady_parts([idle], ["float32"]), "sm_90")
        assert "| `GateJob` | column | no access of 16 bytes | – | – |" in text

    @pytest.mark.parametrize(
        "change", [("Li4Ei", "Li1Ei"), ("Li4Ei", "Li4El"), ("JobIfE", "JobIdE")]
    )
    def test_leaves_out_other_kernels(self, change):
        other = function(LOAD, END, symbol=COLUMN.replace(*change))
        assert steady_parts([other], ["float32"]) == {}


def test_the_command_says_what_is_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cuda_instructions, "cuobjdump", lambda: None)
    assert cuda_instructions.main([str(tmp_path / "none.so")]) == 2
    assert "error: cuobjdump is neither on PATH" in capsys.readouterr().err
