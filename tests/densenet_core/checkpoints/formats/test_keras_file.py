"""Files that Keras itself writes are read, and give Keras's scores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import connection_weights
from app.cli.main import run
from densenet_core import CheckpointError, DenseNet, DenseNetSpec, load_checkpoint
from tests.conftest import trained_like

h5py = pytest.importorskip("h5py")
ENDINGS = ("a.keras", "a.weights.h5", "a.h5")


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        yield pytest.importorskip("keras")


def with_random_weights(model: Any) -> Any:
    generator = np.random.default_rng(0)
    for layer in model.layers:
        noise = [generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()]
        layer.set_weights([w - 1 if w.ndim > 1 else w for w in noise])
    return model


def write(model: Any, file: Path) -> None:
    model.save_weights(file) if file.name.endswith(".weights.h5") else model.save(file)


def scores(model: Any, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return model(images.permute(0, 2, 3, 1).numpy(), training=False).detach().numpy()


def applications_densenet(keras: Any) -> Any:
    from keras.src.applications.densenet import DenseNet

    model = DenseNet((2, 1, 2, 1), weights=None, input_shape=(32, 32, 3), classes=5, classifier_activation=None)
    return with_random_weights(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDINGS)
def test_densenets_of_keras_applications_have_the_same_scores(keras: Any, name: str, tmp_path: Path) -> None:
    model = applications_densenet(keras)
    write(model, tmp_path / name)
    found = load_checkpoint(tmp_path / name)
    assert found.layout == "Keras applications"
    assert found.spec == DenseNetSpec((2, 1, 2, 1), 32, 64, num_classes=5, stem="imagenet")
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        ours = found.to_model()(images).numpy()
    np.testing.assert_allclose(ours, scores(model, images), rtol=2e-4, atol=2e-4 * np.abs(ours).max())


def own_densenet(keras: Any) -> Any:
    """A DenseNet-BC whose layers have the names that Keras gives, and its usual epsilon."""
    layers = keras.layers
    keras.backend.clear_session()

    def read(x: Any, outputs: int, kernel: int) -> Any:
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        return layers.Conv2D(outputs, kernel, padding="same", use_bias=False)(x)

    images = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(images)
    for block in range(2):
        for _ in range(3):
            x = layers.Concatenate()([x, read(read(x, 16, 1), 4, 3)])
        x = layers.AveragePooling2D(2)(read(x, 10, 1)) if block == 0 else x
    x = layers.GlobalAveragePooling2D()(layers.Activation("relu")(layers.BatchNormalization()(x)))
    return with_random_weights(keras.Model(images, layers.Dense(5)(x)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDINGS)
def test_a_network_of_unknown_names_is_found_by_its_shapes(keras: Any, name: str, tmp_path: Path) -> None:
    model = own_densenet(keras)
    write(model, tmp_path / name)
    found = load_checkpoint(tmp_path / name)
    assert found.spec == DenseNetSpec((3, 3), 4, 8, num_classes=5)
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        ours = found.to_model()(images).numpy()
    np.testing.assert_allclose(ours, scores(model, images), rtol=1e-4, atol=1e-4 * np.abs(ours).max())
    kernel = next(layer for layer in model.layers if layer.name == "conv2d_3").get_weights()[0]  # (1, 1, 12, 16)
    row = connection_weights(found).query("block == 1 and source_layer == 1 and target_layer == 2").iloc[0]
    assert row["mean_abs_weight"] == pytest.approx(np.abs(kernel[0, 0, 8:]).mean())


def keras_1_file(file: Path, model: DenseNet, is_theano: bool) -> Path:
    """The network as Keras 1 stored it: conv1/conv1_W, with kernels as either backend kept them."""
    own = {"running_mean": "running_mean", "running_var": "running_std"}  # which holds the variance
    with h5py.File(file, "w") as stream:
        for key, tensor in model.state_dict().items():
            module, _, part = key.rpartition(".")
            if part == "num_batches_tracked":
                continue
            array, is_norm = tensor.numpy(), "norm" in module
            if array.ndim == 4:
                array = array[:, :, ::-1, ::-1] if is_theano else array.transpose(2, 3, 1, 0)
            array = array.T if array.ndim == 2 else array - (1e-3 - 1e-5) * (part == "running_var")
            usual = {"weight": "gamma", "bias": "beta"} if is_norm else {"weight": "W", "bias": "b"}
            layer = module.replace(".", "_")
            stream[f"{layer}/{layer}_{(own | usual)[part]}"] = np.ascontiguousarray(array)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("is_theano", [True, False])
def test_kernels_of_keras_1_are_read_in_the_layout_that_is_asked_for(
    is_theano: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained_like(DenseNetSpec((3, 3), 4, 8, num_classes=5))
    file = keras_1_file(tmp_path / "a.h5", model, is_theano)
    own, other = ("theano", "tensorflow")[:: 1 if is_theano else -1]
    images = torch.randn(2, 3, 16, 16)
    for asked in (None, own):
        found = load_checkpoint(file, keras_layout=asked)
        assert found.spec == model.spec
        torch.testing.assert_close(found.to_model()(images), model(images), rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError, match="no DenseNet"):
        load_checkpoint(file, keras_layout=other)
    assert run(["inspect", str(file)]) == 0
    assert ("Theano's layout" in " ".join(capsys.readouterr().out.split())) == is_theano
    assert run(["inspect", str(file), "--keras-layout", own]) == 0
    assert f"in the layout of {'Theano' if is_theano else 'Tensorflow'}, as asked" in capsys.readouterr().out


@pytest.mark.parametrize(("layout", "name"), [("caffe", "a.h5"), ("theano", "a.pth")])
def test_a_layout_is_refused_where_it_means_nothing(layout: Any, name: str, tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(3, 3)}, tmp_path / "a.pth")
    plain_file(tmp_path / "a.h5")
    with pytest.raises(CheckpointError, match=f"keras_layout .{layout}. is for files of Keras, and one of tensorflow"):
        load_checkpoint(tmp_path / name, keras_layout=layout)


def plain_file(file: Path, **kernel: Any) -> Path:
    with h5py.File(file, "w") as stream:
        group = stream.create_group("layers/conv2d/vars")
        group.create_dataset("0", **(kernel or {"data": np.zeros((3, 3, 3, 8), np.float32)}))
    return file


def linked_file(file: Path) -> Path:
    plain_file(file)
    with h5py.File(file, "a") as stream:
        stream["layers/secret"] = h5py.ExternalLink("/etc/passwd", "/")
        stream["layers/loop"] = h5py.SoftLink("/layers")
    return file


HOSTILE = {
    "too big": (
        lambda f: plain_file(f, shape=(2**20, 2**20), dtype="f4", chunks=True),
        r"'layers/conv2d/vars/0' claims shape \(1048576, 1048576\) and holds fewer numbers",
    ),
    "too big, compressed": (
        lambda f: plain_file(f, shape=(2**20, 2**20), dtype="f4", chunks=True, compression="gzip"),
        "unpacks to far more than its size",
    ),
    "elsewhere": (
        lambda f: plain_file(f, shape=(4, 4), dtype="f4", external=[("/etc/passwd", 0, 64)]),
        "is stored outside the file",
    ),
    "integers": (lambda f: plain_file(f, data=np.zeros((3, 3), np.int8)), "int8: floating point is needed"),
    "text": (lambda f: plain_file(f, data=np.array([b"a"])), "floating point is needed"),
    "links": (linked_file, "no DenseNet"),
    "nothing": (lambda f: h5py.File(f, "w").close(), "no layer with a kernel"),
    "cut": (lambda f: os.truncate(plain_file(f), 900), "cut short or damaged"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_not_plainly_stored_is_refused(what: str, tmp_path: Path) -> None:
    write_file, message = HOSTILE[what]
    write_file(tmp_path / "a.h5")
    with pytest.raises(CheckpointError, match=rf"a\.h5: .*{message}"):
        load_checkpoint(tmp_path / "a.h5")


def test_without_h5py_the_error_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_file(tmp_path / "a.h5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(CheckpointError, match=r"pip install 'densenet-lens\[keras\]'"):
        load_checkpoint(tmp_path / "a.h5")
