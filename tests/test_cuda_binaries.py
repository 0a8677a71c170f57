"""The compiled CUDA kernels take no more than they may, and move memory in whole vectors."""

from __future__ import annotations

import cuda_binaries
import pytest
from cuda_binaries import (
    LIBRARY_VARIABLE,
    Resources,
    instruction_faults,
    resource_faults,
    resources_in,
)
from cuda_disassembly import (
    architectures,
    cuobjdump,
    disassembly,
    functions,
    in_order,
    kernel_named,
    output_of,
)

COLUMN = "_ZN3stc4cuda13column_kernelINS0_7GateJobIfEELi4EiEEvT_NS0_10ColumnWalkIT1_EE"
PLANE = "_ZN3stc4cuda12plane_kernelINS0_11ResidualJobINS_4HalfELb1EEELi8ElEEvT_T1_S6_i"
SHIFT = "_ZN3stc4cuda12shift_kernelINS_8BFloat16ELi8EiEEvNS0_8ShiftJobIT_T1_EE"
CHANNEL = "_ZN3stc4cuda14channel_kernelINS0_12CoefficientsIdEEEEvT_"
TO_SCRATCH = (
    "_ZN3stc4cuda13column_kernelINS0_9ToScratchINS0_15ResidualSumsJobIfLb0EEEEELi4EiEEvT_"
    "NS0_10ColumnWalkIT1_EE"
)
FROM_SCRATCH = (
    "_ZN3stc4cuda13column_kernelINS0_11FromScratchINS0_12SplitSumsJobINS_4HalfEEEEELi4ElEEvT_"
    "NS0_10ColumnWalkIT1_EE"
)

REPORT = f"""
Fatbin elf code:
================
arch = sm_80
code version = [1,8]
host = linux
compile_size = 64bit

Resource usage:
 Common:
  GLOBAL:32 CONSTANT[4]:16
 Function {COLUMN}:
  REG:48 STACK:0 SHARED:1536 LOCAL:0 CONSTANT[0]:760 TEXTURE:0 SURFACE:0 SAMPLER:0

Fatbin elf code:
================
arch = sm_90
code version = [1,8]

Resource usage:
 Function {PLANE}:
  REG:200 STACK:8 SHARED:1024 LOCAL:4 CONSTANT[0]:760 TEXTURE:0 SURFACE:0 SAMPLER:0
"""

LISTING = """
\tcode for sm_80
\t\tFunction : {symbol}
\t.headerflags\t@"EF_CUDA_SM80 EF_CUDA_VIRTUAL_SM(EF_CUDA_SM80)"
        /*0000*/                   MOV R1, c[0x0][0x28] ;            /* 0x00000a0000017a02 */
                                                                     /* 0x000fe40000000f00 */
        /*0010*/                   {load} R4, [R2.64] ;              /* 0x0000000402047981 */
                                                                     /* 0x000ea8000c1e1d00 */
        /*0020*/                   {store} [R2.64], R4 ;             /* 0x0000000402007986 */
                                                                     /* 0x0041e8000c101d04 */
        /*0030*/               @P0 BRA 0x10 ;                        /* 0xffffffd000000947 */
                                                                     /* 0x000fea000383ffff */
        /*0040*/                   EXIT ;                            /* 0x000000000000794d */
                                                                     /* 0x000fea0003800000 */
"""


def listing(symbol=COLUMN, load="LDG.E.128", store="STG.E.128"):
    return LISTING.format(symbol=symbol, load=load, store=store).splitlines()


class TestNames:
    @pytest.mark.parametrize(
        ("symbol", "kernel"),
        [
            (COLUMN, ("column", "GateJob", "", "", "float32", 4, 32)),
            (PLANE, ("plane", "ResidualJob", "", "true", "float16", 8, 64)),
            (SHIFT, ("shift", "ShiftJob", "", "", "bfloat16", 8, 32)),
            (CHANNEL, ("channel", "Coefficients", "", "", "float64", 1, 64)),
            (TO_SCRATCH, ("column", "ResidualSumsJob", "ToScratch", "false", "float32", 4, 32)),
            (FROM_SCRATCH, ("column", "SplitSumsJob", "FromScratch", "", "float16", 4, 64)),
        ],
    )
    def test_of_kernels(self, symbol, kernel):
        assert kernel_named(symbol) == kernel

    def test_titles(self):
        assert kernel_named(TO_SCRATCH).title == "ToScratch<ResidualSumsJob<false>>"
        assert str(kernel_named(PLANE)) == (
            "plane ResidualJob<true> float16, vectors of 8, 64-bit offsets"
        )

    @pytest.mark.parametrize(
        "symbol", ["main", COLUMN.replace("column_kernel", "columm_kernel"), "_ZN3stc4cuda5otherEv"]
    )
    def test_of_unknown_kinds(self, symbol):
        with pytest.raises(ValueError, match="unknown kind of kernel"):
            kernel_named(symbol)

    def test_architectures_in_order(self):
        assert in_order({"sm_100", "sm_80", "sm_90a", "sm_90"}) == [
            "sm_80",
            "sm_90",
            "sm_90a",
            "sm_100",
        ]


class TestResources:
    def test_of_a_report(self):
        assert list(resources_in(REPORT.splitlines())) == [
            Resources("sm_80", COLUMN, registers=48, stack=0, shared=1536, local=0),
            Resources("sm_90", PLANE, registers=200, stack=8, shared=1024, local=4),
        ]

    @pytest.mark.parametrize("lines", [[], ["", " Function other:"]])
    def test_functions_without_resources(self, lines):
        with pytest.raises(ValueError, match="no resources of"):
            list(resources_in([f" Function {COLUMN}:", *lines]))

    @pytest.mark.parametrize(
        ("symbol", "most"), [(COLUMN, 128), (PLANE, 255), (SHIFT, 255), (CHANNEL, 255)]
    )
    def test_registers(self, symbol, most):
        assert resource_faults(Resources("sm_80", symbol, most, 0, 0, 0)) == []
        assert len(resource_faults(Resources("sm_80", symbol, most + 1, 0, 0, 0))) == 1

    @pytest.mark.parametrize(
        ("stack", "shared", "local", "fault"),
        [
            (8, 0, 0, "stack 8, at most 0"),
            (0, 49153, 0, "shared 49153, at most 49152"),
            (0, 0, 4, "local 4, at most 0"),
        ],
    )
    def test_memory(self, stack, shared, local, fault):
        resources = Resources("sm_90", COLUMN, 32, stack, shared, local)
        assert resource_faults(resources) == [f"sm_90 {kernel_named(COLUMN)}: {fault}"]

    def test_more_than_one_fault(self):
        _, spilling = resources_in(REPORT.splitlines())
        assert len(resource_faults(spilling)) == 2


class TestInstructions:
    def faults(self, **changes):
        (function,) = functions(listing(**changes))
        assert len(function.instructions) == 5
        return [fault.split(": ", 1)[1] for fault in instruction_faults(function)]

    def test_whole_vectors(self):
        assert self.faults() == []

    def test_older_spelling(self):
        assert self.faults(load="LDG.E.128.CONSTANT.SYS", store="STG.E.128.SYS") == []

    def test_narrow_loads(self):
        assert self.faults(load="LDG.E.64") == [
            "no load of 16 bytes",
            "less than 16 bytes: LDG.E.64 at 0x10 and 0 more",
        ]

    def test_narrow_stores(self):
        assert self.faults(store="STG.E") == [
            "no store of 16 bytes",
            "less than 16 bytes: STG.E at 0x20 and 0 more",
        ]

    def test_what_is_not_global_memory(self):
        assert self.faults(load="LDS.128") == ["no load of 16 bytes"]

    def test_pieces_where_vectors_can_be_taken_apart(self):
        shift = {"symbol": SHIFT}
        assert self.faults(**shift) == []
        assert self.faults(**shift, load="LDG.E") == ["no load of 16 bytes"]

    @pytest.mark.parametrize("opcode", ["LDL.64", "STL"])
    def test_local_memory(self, opcode):
        fault, _ = self.faults(store=opcode)
        assert fault == f"local memory: {opcode} at 0x20 and 0 more"

    def test_kernels_without_vectors_may_move_elements(self):
        symbol = COLUMN.replace("Li4Ei", "Li1El")
        assert self.faults(symbol=symbol, load="LDG.E", store="STG.E") == []
        assert len(self.faults(symbol=symbol, store="STL")) == 1

    def test_reductions_store_no_vectors(self):
        assert self.faults(symbol=FROM_SCRATCH, store="STS") == []

    def test_unknown_jobs(self):
        with pytest.raises(ValueError, match="TRAFFIC does not have"):
            self.faults(symbol=COLUMN.replace("7GateJob", "6NewJob"))
        with pytest.raises(ValueError, match="TRAFFIC does not have"):
            self.faults(symbol=PLANE.replace("Lb1E", ""))

    def test_listings_of_several_functions(self):
        found = list(functions([*listing(), *listing(SHIFT)]))
        assert [each.symbol for each in found] == [COLUMN, SHIFT]
        assert all(len(each.instructions) == 5 for each in found)
        assert found[0].instructions[3] == (0x30, "P0", "BRA", "0x10")


@pytest.fixture(scope="module")
def tool():
    if (found := cuobjdump()) is None:
        pytest.skip("cuobjdump is neither on PATH nor in an installed triton")
    return found


@pytest.fixture(scope="module")
def library():
    if (found := cuda_binaries.library()) is None:
        pytest.skip(f"built without CUDA kernels, and {LIBRARY_VARIABLE} names none")
    return found


def test_resources_of_every_kernel(tool, library):
    report = output_of(tool, "--dump-resource-usage", str(library))
    resources = list(resources_in(report))
    assert {each.architecture for each in resources} == set(architectures(tool, library))
    faults = [fault for each in resources for fault in resource_faults(each)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("which", [0, -1], ids=["oldest", "newest"])
def test_instructions_of_every_kernel(tool, library, which):
    """Of two architectures: a listing of one is over 100 MB, and spills show in the resources."""
    architecture = architectures(tool, library)[which]
    kernels, faults = [], []
    for function in disassembly(tool, library, architecture):
        kernels.append(kernel_named(function.symbol))
        faults += instruction_faults(function)
    assert any(kernel.width > 1 for kernel in kernels)
    assert not faults, "\n".join(faults)
