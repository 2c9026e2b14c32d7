import pytest
import torch
from torch import nn

from cellcycle.errors import SettingError
from cellcycle.networks import NETWORKS, build_network, n_parameters


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_network_runs_forward_and_backward(name, channels):
    torch.manual_seed(0)
    options = {} if name == "logistic" else {"width": 4}
    network = build_network(name, n_classes=4, channels=channels, size_px=32, **options)
    logits = network(torch.randn(3, channels, 32, 32))
    assert logits.shape == (3, 4)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 3])).backward()
    for parameter, value in network.named_parameters():
        assert value.grad is not None, parameter
        assert torch.isfinite(value.grad).all(), parameter


def test_logistic_regression_has_one_weight_a_pixel_and_class():
    assert n_parameters(build_network("logistic", size_px=64)) == 4 * (64 * 64 + 1)


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_resnet_depth_counts_its_layers(depth):
    network = build_network(f"resnet{depth}-plain")
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == depth


def test_plain_resnet_lacks_only_the_skip_paths():
    residual, plain = (build_network(f"resnet8{block}") for block in ("", "-plain"))
    names = {k for k, _ in residual.named_parameters()} - {k for k, _ in plain.named_parameters()}
    assert names
    assert all(".skip." in n for n in names)


def test_a_block_whose_skip_path_is_the_identity_does_nothing_when_it_adds_nothing():
    identity, plain = (build_network(f"resnet20{block}") for block in ("-identity", "-plain"))
    assert n_parameters(identity) == n_parameters(plain)
    x = torch.rand(2, 16, 8, 8)
    for block in identity.body[3:9].eval():
        block.main[-1].weight.data.zero_()
        made = block(x)
        assert made.shape[1:] in {(16, 8, 8), (32, 4, 4)}
        stride = x.shape[2] // made.shape[2]
        torch.testing.assert_close(made[:, : x.shape[1]], x[:, :, ::stride, ::stride])
        assert not made[:, x.shape[1] :].any()
        x = made


def test_nagao_doubles_its_width_at_every_stage():
    network = build_network("nagao6", width=8, size_px=64)
    convolutions = [m.out_channels for m in network.body if isinstance(m, torch.nn.Conv2d)]
    assert convolutions == [8, 16, 32, 64, 128, 256]
    assert network.head.in_features == 8 * 2**6


def test_nagao_dropout_is_half_unless_said_otherwise():
    def rate(network):
        return next(m.p for m in network.body if isinstance(m, torch.nn.Dropout))

    assert rate(build_network("nagao3")) == 0.5
    assert rate(build_network("nagao3", dropout=0.0)) == 0.0


@pytest.mark.parametrize("size_px", [20, 40, 63, 64])
def test_nagao_takes_any_image_size(size_px):
    assert build_network("nagao6", size_px=size_px)(torch.zeros(1, 1, size_px, size_px)).shape == (1, 4)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(SettingError, match="did you mean 'resnet8'"):
        build_network("resnet-8")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("logistic", {"width": 8}),
        ("nn", {"stem_stride": 2}),
        ("nn", {"batch_norm": True}),
        ("resnet8", {"dropout": 0.3}),
        ("resnet8", {"stem_stride": 0}),
        ("nagao6", {"stem_stride": 2}),
        ("nagao6", {"width": 0}),
        ("nagao6", {"width": 2.5}),
        ("nagao6", {"dropout": 1.5}),
        ("nagao6", {"dropout": "half"}),
        ("nagao6", {"batch_norm": "yes"}),
    ],
)
def test_an_option_that_a_network_does_not_take_is_refused_by_name(name, options):
    with pytest.raises(SettingError, match=f"^{next(iter(options))}: "):
        build_network(name, **options)


def test_a_network_from_outside_takes_the_options_that_it_names(monkeypatch):
    def mine(channels, size_px, width):
        n_features = 2 if width is None else width
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * size_px**2, n_features)), n_features

    monkeypatch.setitem(NETWORKS, "mine", mine)
    assert [build_network("mine", width=width).head.in_features for width in (None, 3)] == [2, 3]
    with pytest.raises(SettingError, match="mine does not take it"):
        build_network("mine", dropout=0.5)


@pytest.mark.parametrize(
    ("body", "n_features"), [(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), 5), (nn.AvgPool2d(8), 4)]
)
def test_a_body_that_gives_other_features_than_it_names_is_refused(monkeypatch, body, n_features):
    monkeypatch.setitem(NETWORKS, "mine", lambda channels, size_px: (body, n_features))
    with pytest.raises(SettingError, match=r"its body makes \(2, .* of 2 images, and names \d features"):
        build_network("mine", size_px=16)
