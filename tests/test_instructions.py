"""Instruction counts: what callgrind writes is read rightly, more is told from less, and every case is recorded."""

import json

from harness import load

instructions = load("instructions")

PROFILE = """\
fn=(1) main
cfn=(2) measured
calls=1 0
0 700

fn=(2)
0 12
cfn=(3) logits_full_f64
calls=1 0
0 500
cob=(9) a library
cfn=(4) softmax_f64.constprop.0
calls=1 0
+2 60
0 3
cfn=(4)
calls=1 0
* 65

fn=(3)
0 400
cfn=(5) helper
calls=4 0
0 100
"""


def test_calls_are_counted_with_all_that_they_call():
    costs = instructions.calls_of(PROFILE, "measured")
    assert costs == {"logits_full_f64": 500, "softmax_f64.constprop.0": 125}
    assert [instructions.leaf_name(name) for name in costs] == ["logits_full", "softmax"]


def test_more_is_told_from_less():
    recorded = {"a": {"pack": 1000, "softmax": 1000}}
    assert instructions.compare(recorded, {"a": {"pack": 1030, "softmax": 971}}) == ([], [])
    worse, better = instructions.compare(recorded, {"a": {"pack": 1031, "softmax": 970}})
    assert worse == ["a: pack takes 1031 instructions, +3.1 % to 1000"]
    assert better == ["a: softmax takes 970 instructions, -3.0 % to 1000"]
    worse, better = instructions.compare(recorded, {"a": {"pack": 1000, "rotate": 5}})
    assert [line.partition(":")[2].strip() for line in worse] == [
        "rotate is new: --rewrite if that is meant",
        "softmax is gone: --rewrite if that is meant",
    ]
    assert better == []


def test_every_case_is_recorded():
    text = instructions.RECORD.read_text(encoding="utf-8")
    record = json.loads(text)
    assert tuple(record["counts"]) == instructions.CASES
    for case, leaves in record["counts"].items():
        assert {"pack", "softmax"} < set(leaves), case
        assert all(count > 0 for count in leaves.values())


def test_without_valgrind_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert instructions.main([]) == 2
    assert "not counted" in capsys.readouterr().err
