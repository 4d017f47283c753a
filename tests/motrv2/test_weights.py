"""Checkpoints: the published files, ours, and everything that is neither."""

import argparse
import json
import os
import resource
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from helpers.fakes import SMALL
from helpers.golden_data import FOLDER, published_state, released_model
from tfsasm.errors import InputError, WeightsError
from tfsasm.motrv2.config import NetworkConfig, full, tiny
from tfsasm.motrv2.family import load_model
from tfsasm.motrv2.model import MOTRv2
from tfsasm.motrv2.weights import (
    BOX_HEADS,
    BOX_HEADS_ALIAS,
    from_published,
    published_name,
    read_checkpoint,
    save_model,
    to_published,
)

NETWORK = NetworkConfig(SMALL, short_side=96, max_side=160)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MOTRv2(SMALL).eval()


@pytest.fixture(scope="module")
def published(model):
    return to_published(model.state_dict())


def training_file(path, state, network=NETWORK):
    """What the released training writes, its options and optimiser included."""
    torch.save({
        "model": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4}]},
        "lr_scheduler": {"last_epoch": 4, "base_lrs": [2e-4]},
        "epoch": 4,
        "args": argparse.Namespace(lr=2e-4, sampler_lengths=[5], meta_arch="motr", resume=None),
    }, path)  # fmt: skip
    path.with_suffix(".json").write_text(network.to_json())
    return path


def assert_same(one, other, but=""):
    one, other = one.state_dict(), other.state_dict()
    assert list(one) == list(other)
    for name, value in one.items():
        assert name == but or torch.equal(value, other[name]), name


# The published files


def test_the_golden_weights_are_the_ones_that_made_the_vectors():
    lines = [line.split("\t") for line in (FOLDER / "weights_crc.txt").read_text().splitlines()]
    state = published_state()
    assert {name for name, *_ in lines} == set(state)
    for name, crc, _ in lines:
        assert zlib.crc32(state[name].numpy().tobytes()) == int(crc), name


def test_the_published_network_has_the_published_names():
    """All 616 of them, 36 for the second time, with the published shapes."""
    ours = to_published(released_model().state_dict())
    state = published_state()
    assert len(state) == len(ours) == 616
    assert {name: v.shape for name, v in ours.items()} == {n: v.shape for n, v in state.items()}
    assert sum(name.startswith(BOX_HEADS_ALIAS) for name in state) == 36
    assert sum(value.numel() for value in state.values()) == 42_777_630
    assert all(torch.equal(value, state[name]) for name, value in ours.items())


def test_a_training_file_is_loaded_with_all_it_holds(tmp_path, model, published):
    path = training_file(tmp_path / "motrv2.pth", published)
    loaded, network = load_model(path)
    assert network == NETWORK
    assert_same(loaded, model)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_a_file_without_configuration_is_taken_for_the_published_network(tmp_path, published):
    path = training_file(tmp_path / "motrv2.pth", published)
    path.with_suffix(".json").unlink()
    assert read_checkpoint(path)[1] is None
    with pytest.raises(WeightsError, match=r"missing: backbone\.0\.body\.conv1\.weight") as caught:
        load_model(path)
    assert "surplus: backbone.0.body.features" in str(caught.value)
    assert "another one needs its configuration in " in str(caught.value)


def test_a_bare_state_dict_will_do(tmp_path, model, published):
    torch.save(published, tmp_path / "bare.pt")
    (tmp_path / "bare.json").write_text(NETWORK.to_json())
    assert_same(load_model(tmp_path / "bare.pt")[0], model)


def test_every_difference_is_listed_in_one_error(model, published):
    state = dict(published)
    del state["position.weight"], state["track_embed.norm1.bias"]
    state |= {"memory_bank.save_proj.weight": torch.zeros(1), "stray": torch.zeros(2)}
    state["query_embed.weight"] = torch.zeros(300, 512)
    state["class_embed.1.bias"] = torch.zeros(91)
    with pytest.raises(WeightsError) as caught:
        from_published(state, model, "some.pth")
    first, *problems = str(caught.value).splitlines()
    assert first == "some.pth does not fit the network, 6 problems:"
    assert {problem.strip() for problem in problems} == {
        "missing: position.weight, track_embed.norm1.bias",
        "surplus: memory_bank.save_proj.weight, stray",
        "wrong shape: query_embed.weight is [300, 512] instead of [3, 64], "
        "class_embed.1.bias is [91] instead of [1]",
    }


def without(state, part):
    return {name: tensor for name, tensor in state.items() if part not in name}


@pytest.mark.parametrize(("change", "told"), [
    pytest.param(lambda s: without(s, BOX_HEADS_ALIAS), "once instead of twice: 12 tensors",
                 id="no second names"),
    pytest.param(lambda s: without(s, "refine_embed"), "lacks refine_embed.weight, which tracking",
                 id="no denoising"),
    pytest.param(lambda s: s | {"transformer.decoder.layers.0.update_attn.in_proj_bias":
                                torch.zeros(3), "track_embed.norm3.weight": torch.zeros(64)},
                 "ignored, since it is never used: transformer.decoder.layers.0.update_attn",
                 id="leftovers of MOTR"),
])  # fmt: skip
def test_what_the_original_takes_is_told(tmp_path, model, published, caplog, change, told):
    torch.save({"model": change(published)}, tmp_path / "kind.pth")
    (tmp_path / "kind.json").write_text(NETWORK.to_json())
    loaded, _ = load_model(tmp_path / "kind.pth")
    assert_same(loaded, model, but="denoising_content" if "refine" in told else "")
    assert told in caplog.text
    assert " tensors were taken; " in caplog.text


def test_learned_queries_are_counted(tmp_path, published, caplog):
    state = published | {"position.weight": torch.rand(60, 4)}
    torch.save(state, tmp_path / "sixty.pth")
    with pytest.raises(WeightsError, match="query_embed"):
        load_model(tmp_path / "sixty.pth")
    assert "it has 60 learned queries, and so has the network" in caplog.text


def test_queries_that_are_one_number_are_refused(tmp_path, published):
    torch.save(published | {"position.weight": torch.tensor(1.0)}, tmp_path / "one.pth")
    with pytest.raises(WeightsError, match=r"position\.weight is \[\] instead of"):
        load_model(tmp_path / "one.pth")


def test_paths_and_scalars_beside_the_weights_do_no_harm(tmp_path, model, published):
    options = argparse.Namespace(output_dir=Path("/data"), lr=np.float64(2e-4), epochs=np.int64(5))
    torch.save({"model": published, "args": options}, tmp_path / "args.pth")
    (tmp_path / "args.json").write_text(NETWORK.to_json())
    assert_same(load_model(tmp_path / "args.pth")[0], model)


def test_the_two_names_of_a_box_head_must_agree(model, published):
    state = dict(published)
    name = f"{BOX_HEADS}1.layers.0.bias"
    state[name] = state[name] + 1
    with pytest.raises(WeightsError, match="1 problem") as caught:
        from_published(state, model, "some.pth")
    assert f"differs from its twin {name}: {BOX_HEADS_ALIAS}1.layers.0.bias" in str(caught.value)


def test_counters_of_batch_norms_are_dropped(model, published):
    counter = "backbone.0.body.features.0.1.num_batches_tracked"
    state = from_published({**published, counter: torch.tensor(7)}, model, "some.pth")
    assert state.keys() == model.state_dict().keys()


def test_every_parameter_has_one_published_name(model):
    names = [published_name(name) for name in model.state_dict()]
    assert len(set(names)) == len(names)
    with pytest.raises(KeyError, match="stray"):
        published_name("stray")


# Ours


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_what_is_saved_is_loaded_again(tmp_path, model, suffix):
    path = tmp_path / "new" / f"small{suffix}"
    save_model(path, model, NETWORK)
    loaded, network = load_model(path)
    assert network == NETWORK
    assert_same(loaded, model)
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode, "others may read it, too"


def test_loading_draws_no_initial_values(tmp_path, model):
    """They would be overwritten, cost as long as reading does and shift what is drawn later."""
    save_model(tmp_path / "w.safetensors", model, NETWORK)
    before = torch.get_rng_state()
    load_model(tmp_path / "w.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, model, suffix):
    path = tmp_path / f"small{suffix}"
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, usual[1]))
    try:
        with pytest.raises(InputError, match=rf"cannot write .*small\{suffix}"):
            save_model(path, model, NETWORK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == []


def test_the_same_weights_and_notes_are_the_same_bytes(tmp_path, model):
    notes = {name: f"{name}: \n\u00e9" for name in "zyxwvabcd"}
    for path in (one := tmp_path / "one.safetensors", other := tmp_path / "other.safetensors"):
        save_model(path, model, NetworkConfig(SMALL), notes=notes)
        notes = dict(sorted(notes.items()))
    assert one.read_bytes() == other.read_bytes()
    with safe_open(one, "pt") as file:
        assert file.metadata() == notes | {"config": NetworkConfig(SMALL).to_json()}
    assert int.from_bytes(one.read_bytes()[:8], "little") % 8 == 0
    assert load_file(one).keys() == model.state_dict().keys()


def test_safetensors_carry_their_configuration(tmp_path, model):
    path = tmp_path / "small.safetensors"
    save_model(path, model, NETWORK, notes={"trained on": "synthetic dances"})
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert set(load_file(path)) == set(model.state_dict())
    assert b"synthetic dances" in path.read_bytes()[:100_000]


def test_a_configuration_may_lie_beside(tmp_path, model):
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, tmp_path / "small.safetensors")
    (tmp_path / "small.json").write_text(NETWORK.to_json())
    loaded, network = load_model(tmp_path / "small.safetensors")
    assert network == NETWORK
    assert_same(loaded, model)


def test_the_configuration_inside_goes_before_the_one_beside(tmp_path, model):
    save_model(tmp_path / "small.safetensors", model, NETWORK)
    (tmp_path / "small.json").write_text(replace(NETWORK, short_side=7).to_json())
    assert load_model(tmp_path / "small.safetensors")[1] == NETWORK


def test_a_pth_of_ours_is_a_published_one(tmp_path, model, published):
    save_model(tmp_path / "small.pth", model, NETWORK)
    inside = torch.load(tmp_path / "small.pth", weights_only=True)
    assert inside.keys() == {"model"}
    assert inside["model"].keys() == published.keys()
    assert json.loads((tmp_path / "small.json").read_text())["short_side"] == 96


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_half_of_the_space_costs_some_digits(tmp_path, model, suffix):
    for name, half in (("whole", False), ("half", True)):
        save_model(tmp_path / f"{name}{suffix}", model, NETWORK, half=half)
    sizes = [(tmp_path / f"{name}{suffix}").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded, _ = load_model(tmp_path / f"half{suffix}")
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_ours_are_loaded_as_strictly(tmp_path, model):
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    del state["level_embed"]
    state["stray"] = torch.zeros(1)
    save_file(state, tmp_path / "x.safetensors", metadata={"config": NETWORK.to_json()})
    with pytest.raises(WeightsError, match="2 problems") as caught:
        load_model(tmp_path / "x.safetensors")
    assert "missing: level_embed" in str(caught.value)
    assert "surplus: stray" in str(caught.value)


def test_an_unknown_suffix_is_refused_before_writing(tmp_path, model):
    with pytest.raises(WeightsError, match=r"write \.safetensors or \.pth, not \.onnx"):
        save_model(tmp_path / "small.onnx", model, NETWORK)
    assert list(tmp_path.iterdir()) == []


# Configurations


@pytest.mark.parametrize("network", [
    pytest.param(full(), id="full"), pytest.param(tiny(), id="tiny"),
    pytest.param(NETWORK, id="another"),
])
def test_a_configuration_survives_json(network):
    assert NetworkConfig.from_json(network.to_json()) == network


BAD_CONFIGS = [
    pytest.param("width = 64", id="no JSON"),
    pytest.param("[]", id="a list"),
    pytest.param("3", id="a number"),
    pytest.param("{}", id="no model"),
    pytest.param('{"model": 3}', id="a model that is a number"),
    pytest.param('{"model": {"depth": 50}}', id="an unknown size"),
    pytest.param('{"model": {}, "colour": 1}', id="an unknown setting"),
]
ILL_TYPED = [
    pytest.param('{"model": {"width": "64"}}', id="text for a number"),
    pytest.param('{"model": {"width": 64.5}}', id="a broken number"),
    pytest.param('{"model": {"place_values": 7}}', id="a number for yes or no"),
    pytest.param('{"model": {}, "short_side": "x"}', id="text for a side"),
]
IMPOSSIBLE = [
    pytest.param({"backbone": "vgg"}, id="an unknown backbone"),
    pytest.param({"levels": 7}, id="too many levels"),
    pytest.param({"width": 100}, id="a width that cannot be grouped"),
    pytest.param({"heads": 7}, id="heads that do not share the width"),
]


@pytest.mark.parametrize("text", BAD_CONFIGS)
def test_a_bad_configuration_is_refused(text):
    with pytest.raises(WeightsError, match="not a network configuration"):
        NetworkConfig.from_json(text)


@pytest.mark.parametrize("text", ILL_TYPED)
def test_an_ill_typed_configuration_is_refused(text):
    with pytest.raises(WeightsError, match="not a network configuration"):
        NetworkConfig.from_json(text)


@pytest.mark.parametrize("sizes", IMPOSSIBLE)
def test_an_impossible_network_is_named_with_its_file(tmp_path, model, sizes):
    path = tmp_path / "small.safetensors"
    save_model(path, model, replace(NETWORK, model=replace(SMALL, **sizes)))
    with pytest.raises(WeightsError, match=r"small\.safetensors"):
        load_model(path)


@pytest.mark.parametrize("sizes", [
    {"width": 100_000}, {"decoder_layers": 100_000}, {"encoder_layers": 100_000},
    {"feedforward": 100_000}, {"points": 100_000}, {"learned_queries": 100_000},
    {"classes": 100_000}, {"levels": 100_000}, {"kind": "motr", "width": 100_000},
])
def test_a_network_that_is_larger_than_its_file_is_not_made(tmp_path, model, sizes):
    path = tmp_path / "small.safetensors"
    save_model(path, model, replace(NETWORK, model=replace(SMALL, **sizes)))
    with pytest.raises(WeightsError, match=r"small\.safetensors"):
        load_model(path)


@pytest.mark.parametrize("network", [SMALL, tiny().model])
def test_a_network_has_more_than_its_least(network):
    size = MOTRv2(network).size
    assert 0.01 * size < network.least < size


def test_a_safetensors_file_of_nothing_is_refused(tmp_path):
    save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_a_bad_configuration_is_named_with_its_file(tmp_path, model, where):
    path = tmp_path / "small.safetensors"
    metadata = {"config": "width = 64"} if where == "inside" else None
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, path, metadata=metadata)
    if where == "beside":
        path.with_suffix(".json").write_text("width = 64")
    with pytest.raises(WeightsError, match=r"small\.(json|safetensors)"):
        load_model(path)


def test_a_configuration_that_is_no_text_is_refused(tmp_path, model):
    save_model(tmp_path / "small.pth", model, NETWORK)
    (tmp_path / "small.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="not a network configuration"):
        load_model(tmp_path / "small.pth")


# What is no checkpoint


@pytest.fixture(scope="module")
def good(tmp_path_factory, model):
    """Bytes of a good file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    kinds = {}
    for suffix in (".pth", ".safetensors"):
        save_model(folder / f"small{suffix}", model, NETWORK)
        kinds[suffix] = (folder / f"small{suffix}").read_bytes()
    return kinds


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [
    pytest.param(0.0, id="empty"), pytest.param(0.0001, id="its first bytes"),
    pytest.param(0.5, id="half of it"), pytest.param(0.99999, id="nearly all of it"),
])
def test_a_truncated_file_is_refused_by_name(tmp_path, good, suffix, share):
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(good[suffix][: int(share * len(good[suffix]))])
    with pytest.raises(WeightsError, match=rf"cut{suffix} is (truncated|not a whole)"):
        load_model(path)


@pytest.mark.parametrize(("name", "content"), [
    pytest.param("notes.pth", b"hello, this is text\n" * 20, id="text"),
    pytest.param("page.pth", b"<!DOCTYPE html><html>404</html>", id="a web page"),
    pytest.param("small.pth", "safetensors", id="safetensors called pth"),
    pytest.param("small.safetensors", "pth", id="pth called safetensors"),
    pytest.param("notes.safetensors", b"hello, this is text\n" * 20, id="text called safetensors"),
    pytest.param("archive.pth", b"PK\x03\x04" + bytes(100), id="some archive"),
])
def test_another_kind_of_file_is_refused_by_name(tmp_path, good, name, content):
    (tmp_path / name).write_bytes(good[f".{content}"] if isinstance(content, str) else content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch guesses at very old formats
        with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
            load_model(tmp_path / name)


@pytest.mark.parametrize("name", ["nothing.pth", "nothing.safetensors", ""])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(WeightsError, match="no checkpoint at"):
        load_model(tmp_path / name)


@pytest.mark.parametrize("content", [
    pytest.param([1, 2], id="a list"),
    pytest.param(torch.zeros(3), id="a tensor"),
    pytest.param({}, id="nothing"),
    pytest.param({"model": {}}, id="an empty model"),
    pytest.param({"model": 3}, id="a number for a model"),
    pytest.param({"epoch": 3}, id="no model"),
    pytest.param({"model": {"a": torch.zeros(1), "b": "c"}}, id="text among the tensors"),
    pytest.param({1: torch.zeros(1)}, id="numbers for names"),
])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"odd\.pth"):
        load_model(tmp_path / "odd.pth")


class Call:
    """Pickles into a call of `function(argument)` on loading."""

    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


UNSAFE = [
    pytest.param(os.system, "touch {}", id="a shell command"),
    pytest.param(eval, "open('{}', 'w').close()", id="Python code"),
    pytest.param(os.mkdir, "{}", id="an operating system call"),
    pytest.param(Path, "{}", id="a harmless class that was not allowed"),
]


def unsafe_file(folder, published, function, argument, *, old):
    trace = folder / "it-ran"
    content = {"model": published, "x": Call(function, argument.format(trace))}
    path = folder / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    path.with_suffix(".json").write_text(NETWORK.to_json())
    return path, trace


@pytest.mark.parametrize("old", [
    pytest.param(False, id="zip"), pytest.param(True, id="old format")
])
@pytest.mark.parametrize(("function", "argument"), UNSAFE)
def test_a_pickle_that_would_run_code_does_not(tmp_path, published, function, argument, old):
    path, trace = unsafe_file(tmp_path, published, function, argument, old=old)
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        load_model(path)
    assert not trace.exists()


def test_the_trap_of_these_tests_works(tmp_path, published):
    """A free unpickling would have run the code."""
    path, trace = unsafe_file(tmp_path, published, *UNSAFE[0].values, old=False)
    torch.load(path, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize(("function", "argument"), UNSAFE)
def test_the_refusal_has_a_reason_and_no_bad_advice(tmp_path, published, function, argument):
    path, _ = unsafe_file(tmp_path, published, function, argument, old=False)
    with pytest.raises(WeightsError, match="could run code when loaded; refused") as caught:
        load_model(path)
    assert "weights_only" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
