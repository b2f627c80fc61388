"""Where the wall time of a step goes, by hand-made programs and events."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pellucid.training.profiling.attribution import DATA, PASS, Event, Spent, spent, typical
from pellucid.training.profiling.hlo import CONTAINERS, Module, bytes_of
from pellucid.training.profiling.scopes import Label, Scopes
from pellucid.training.profiling.trace import events_of

PROGRAM = """HloModule jit__pure, is_scheduled=true

%fused (p0: f32[8,4], p1: f32[4,2]) -> f32[8,2] {
  %p0 = f32[8,4]{1,0} parameter(0)
  %p1 = f32[4,2]{1,0} parameter(1)
  %product = f32[8,2]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, metadata={op_name="jit(f)/jvp(hidden)/dot_general"}
  ROOT %sum = f32[8,2]{1,0} add(%product, %product), metadata={op_name="jit(f)/jvp(out)/add"}
}

%body (state: (s32[], f32[8,2])) -> (s32[], f32[8,2]) {
  %state = (s32[], /*index=1*/f32[8,2]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[8,2]{1,0} get-tuple-element(%state), index=1
  %turn = f32[8,2]{1,0} tanh(%x), metadata={op_name="jit(f)/transpose(jvp(block))/rnn/while/body/tanh"}
  ROOT %next = (s32[], f32[8,2]{1,0}) tuple(%i, %turn)
}

ENTRY %main (x: f32[8,4], w: f32[4,2], data: f32[80,2]) -> f32[8,2] {
  %x = f32[8,4]{1,0} parameter(0), metadata={op_name="arrays[0]"}
  %w = f32[4,2]{1,0} parameter(1), metadata={op_name="written[0]"}
  %data = f32[80,2]{1,0} parameter(2)
  %zero = s32[] constant(0)
  %slice = f32[8,2]{1,0} dynamic-slice(%data, %zero, %zero), dynamic_slice_sizes={8,2}, metadata={op_name="jit(f)/data:batch/dynamic_slice"}
  %w_copy = f32[4,2]{1,0} copy(%w)
  %fusion = f32[8,2]{1,0} fusion(%x, %w_copy), kind=kLoop, calls=%fused
  %start = (s32[], f32[8,2]{1,0}) tuple(%zero, %fusion)
  %loop = (s32[], f32[8,2]) while(%start), condition=%condition, body=%body, metadata={op_name="jit(f)/transpose(jvp(block))/rnn/while"}
  %after = f32[8,2]{1,0} get-tuple-element(%loop), index=1
  ROOT %updated = f32[8,2]{1,0} subtract(%after, %slice), metadata={op_name="jit(f)/optimizer:sgd/sub"}
}
"""
PATHS = ["hidden", "out", "block", "block/rnn"]


@pytest.fixture
def module():
    return Module(PROGRAM)


def is_container(name):
    return name in ("loop", "outer")


def test_the_text_of_a_program_gives_its_instructions(module):
    assert module.name == "jit__pure"
    loop = module.instructions["loop"]
    assert (loop.opcode, loop.operands, loop.called) == ("while", ("start",), ("condition", "body"))
    assert loop.opcode in CONTAINERS
    assert [m.name for m in module.members(module.instructions["fusion"])] == ["p0", "p1", "product", "sum"]
    assert module.kind_of(module.instructions["fusion"]) == "dot"
    assert module.instructions["updated"].root and not module.instructions["slice"].root


def test_bytes_are_what_is_read_and_written_and_of_a_slice_that_part_only(module):
    assert module.bytes_of(module.instructions["fusion"]) == 4 * (8 * 4 + 4 * 2 + 8 * 2)
    assert module.bytes_of(module.instructions["slice"]) == 2 * 4 * 8 * 2
    assert module.bytes_of(module.instructions["loop"]) == module.bytes_of(module.instructions["w"]) == 0
    assert [bytes_of(t) for t in ("f32[2,3]{1,0}", "bf16[4]", "(s32[], pred[5]{0})", "f8e4m3fn[8]", "c64[2]", "s4[4]", "token[]")] == [
        24,
        8,
        9,
        8,
        16,
        2,
        0,
    ]


def test_scopes_lead_to_the_innermost_layer_and_to_the_parts_that_are_none():
    scopes = Scopes(PATHS)
    assert scopes.label("jit(f)/while/body/transpose(jvp(block))/rnn/while/body/tanh") == Label("block/rnn", "gradient")
    assert scopes.label("jit(f)/jvp(block)/add") == Label("block", "forward")
    assert scopes.label("jit(f)/jvp(hidden)/jit(relu)") == Label("hidden", "forward")
    assert scopes.label("jit(f)/jvp(loss:mse)/sub") == Label("loss", "forward")
    assert scopes.label("jit(f)/transpose(jvp(loss:mse))/sub") == Label("loss", "gradient")
    assert scopes.label("jit(f)/while/body/optimizer:adam/cond/branch_1_fun/mul") == Label("optimizer", "forward")
    assert scopes.label("jit(f)/metric:update/add").part == "metrics"
    assert scopes.label("jit(f)/jvp()/mul") == Label("operations of call", "forward")
    assert scopes.label("jit(f)/add").part == "other"
    assert scopes.label("written[3]") is None and scopes.label("") is None
    assert Scopes(PATHS, layered=True).label("jit(f)/add").part == "operations of call"


def test_a_fusion_is_shared_by_its_members_and_a_copy_belongs_to_what_uses_it(module):
    scopes = Scopes(PATHS)
    shares = scopes.shares(module, module.instructions["fusion"])
    assert shares == pytest.approx({Label("hidden", "forward"): 128 / 144, Label("out", "forward"): 16 / 144})
    assert scopes.shares(module, module.instructions["w_copy"]) == pytest.approx(shares)
    assert scopes.shares(module, module.instructions["turn"]) == {Label("block/rnn", "gradient"): 1.0}


def test_a_product_whose_name_was_lost_belongs_to_the_layer_and_not_to_the_optimizer_that_uses_it():
    module = Module(
        """HloModule m
ENTRY %main (a: f32[4,4]) -> f32[4,4] {
  %a = f32[4,4]{1,0} parameter(0)
  %back = f32[4,4]{1,0} tanh(%a), metadata={op_name="jit(f)/transpose(jvp(hidden))/tanh"}
  %lost = f32[4,4]{1,0} dot(%back, %a), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %new = f32[4,4]{1,0} subtract(%a, %lost), metadata={op_name="jit(f)/optimizer:sgd/sub"}
}
"""
    )
    assert Scopes(["hidden"]).shares(module, module.instructions["lost"]) == {Label("hidden", "gradient"): 1.0}


def test_what_a_fusion_of_the_gradient_computes_again_is_gradient():
    module = Module(
        """HloModule m
%fused (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  %again = f32[4]{0} tanh(%p), metadata={op_name="jit(f)/jvp(hidden)/tanh"}
  ROOT %back = f32[4]{0} multiply(%again, %p), metadata={op_name="jit(f)/transpose(jvp(hidden))/mul"}
}
ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  ROOT %fusion = f32[4]{0} fusion(%a), kind=kLoop, calls=%fused
}
"""
    )
    assert Scopes(["hidden"]).shares(module, module.instructions["fusion"]) == {Label("hidden", "gradient"): 1.0}


def test_operations_at_once_share_the_time_and_what_nothing_covers_is_dispatch():
    events = [Event(PASS, 10, 20, False), Event("a", 11, 15), Event("b", 13, 16), Event("a", 18, 19), Event("b", 13.5, 14.5)]
    (found,) = spent(events)
    # 11–13 a; 13–13.5 a, b; 13.5–14.5 a, b, b; 14.5–15 a, b; 15–16 b; 18–19 a
    assert found.seconds == pytest.approx({"a": 2 + 0.25 + 1 / 3 + 0.25 + 1, "b": 0.25 + 2 / 3 + 0.25 + 1})
    assert found.times == {"a": 2, "b": 2}
    assert found.dispatch == pytest.approx(4) and found.total == 10
    assert sum(found.seconds.values()) + found.dispatch + found.data == pytest.approx(found.total)


def test_a_loop_has_only_the_time_that_nothing_inside_it_takes():
    events = [Event(PASS, 0, 10, False), Event("outer", 0, 10), Event("loop", 1, 9), Event("turn", 2, 4), Event("turn", 5, 8)]
    (found,) = spent(events, is_container)
    assert found.seconds == {"outer": 2, "loop": 3, "turn": 5}
    assert found.dispatch == 0 and found.times["turn"] == 2


def test_gathering_of_data_counts_only_while_nothing_computes():
    events = [Event(PASS, 0, 10, False), Event(DATA, 1, 6, False), Event("a", 3, 8)]
    (found,) = spent(events)
    assert (found.data, found.seconds, found.dispatch) == (2, {"a": 5}, 3)


def test_only_what_is_inside_of_a_pass_counts():
    events = [Event("a", 0, 3), Event(PASS, 2, 4, False), Event("a", 5, 6), Event(PASS, 8, 10, False), Event("b", 9, 9), Event("a", 9, 12)]
    first, second = spent(events)
    assert (first.total, first.seconds, first.dispatch) == (2, {"a": 1}, 1)
    assert (second.total, second.seconds, second.dispatch) == (2, {"a": 1}, 1)


def test_an_interruption_of_one_pass_does_not_count():
    passes = [Spent(5, {"a": 3}, {"a": 2}, 0, 2), Spent(50, {"a": 48, "b": 1}, {"a": 2, "b": 1}, 0, 2), Spent(12, {"a": 8}, {"a": 4}, 1, 4)]
    found = typical(passes, [1, 1, 2])
    assert (found.total, found.seconds, found.times, found.dispatch) == (6, {"a": 4, "b": 0}, {"a": 2, "b": 0}, 2)
    assert found.known == 6


def event(name, start, duration, **stats):
    return SimpleNamespace(name=name, start_ns=start * 1e9, duration_ns=duration * 1e9, stats=list(stats.items()))


def trace(**planes):
    lines = lambda given: [SimpleNamespace(name=name, events=events) for name, events in given.items()]
    return SimpleNamespace(planes=[SimpleNamespace(name=name, lines=lines(given)) for name, given in planes.items()])


def test_events_of_a_cpu_last_until_their_end_in_another_thread(module):
    data = trace(
        **{
            "/host:CPU": {
                "python": [event(PASS, 0, 9), event("PjitFunction(jit(_pure))", 0, 1), event(DATA, 0, 0.5)],
                "one": [
                    event("fusion", 1, 0.5, hlo_op="fusion", hlo_module="jit__pure", _p=7),
                    event("fusion", 4, 1, hlo_module="jit_other"),
                ],
                "two": [event("end: fusion", 2.5, 0.5, _c=7), event("ThunkExecutor::Execute", 1, 3)],
            }
        }
    )
    found = sorted(events_of(data, module), key=lambda e: e.name)
    assert found == [Event("fusion", 1, 3), Event(DATA, 0, 0.5, False), Event(PASS, 0, 9, False)]


def test_events_of_a_gpu_are_kernels_on_streams_with_the_name_of_their_instruction(module):
    kernel = event("gemm_fusion_kernel_3", 1, 2, hlo_op="fusion", hlo_module="jit__pure")
    data = trace(
        **{
            "/host:CPU": {"python": [event(PASS, 0, 9), event("fusion", 0.5, 0.1, hlo_op="fusion", hlo_module="jit__pure")]},  # its start
            "/device:GPU:0": {
                "Stream #13(Compute)": [kernel, event("MemcpyD2D", 4, 1), event("x", 5, 1, hlo_op="turn", hlo_module="jit_other")],
                "XLA Ops": [event("fusion", 1, 2, hlo_op="fusion", hlo_module="jit__pure")],  # the same once more
            },
        }
    )
    assert list(events_of(data, module)) == [Event(PASS, 0, 9, False), Event("fusion", 1, 3)]


def test_events_of_other_devices_are_named_by_the_text_of_their_instruction(module):
    data = trace(**{"/device:TPU:0": {"XLA Ops": [event("%turn = f32[8,2]{1,0} tanh(%x)", 1, 2)], "Steps": [event("0", 0, 9)]}})
    assert list(events_of(data, module)) == [Event("turn", 1, 3)]
