"""The second engine gives what the published network gives, from every form of checkpoint."""

import os
import re
import zipfile
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.rendering import timeline_of
from safetensors.torch import load_file, save_file

from heygem.avatar.timeline import Timeline
from heygem.core.errors import AssetError
from heygem.rendering import wav2lip

# The published table: name, kind, in, out, kernel, stride (2), padding, output padding,
# residual. Written out in full so that the network under test is read a second way.
PUBLISHED = """
face_encoder_blocks.0.0 Conv 6 16 7 1 1 3 0 -
face_encoder_blocks.1.0 Conv 16 32 3 2 2 1 0 -
face_encoder_blocks.1.1 Conv 32 32 3 1 1 1 0 res
face_encoder_blocks.1.2 Conv 32 32 3 1 1 1 0 res
face_encoder_blocks.2.0 Conv 32 64 3 2 2 1 0 -
face_encoder_blocks.2.1 Conv 64 64 3 1 1 1 0 res
face_encoder_blocks.2.2 Conv 64 64 3 1 1 1 0 res
face_encoder_blocks.2.3 Conv 64 64 3 1 1 1 0 res
face_encoder_blocks.3.0 Conv 64 128 3 2 2 1 0 -
face_encoder_blocks.3.1 Conv 128 128 3 1 1 1 0 res
face_encoder_blocks.3.2 Conv 128 128 3 1 1 1 0 res
face_encoder_blocks.4.0 Conv 128 256 3 2 2 1 0 -
face_encoder_blocks.4.1 Conv 256 256 3 1 1 1 0 res
face_encoder_blocks.4.2 Conv 256 256 3 1 1 1 0 res
face_encoder_blocks.5.0 Conv 256 512 3 2 2 1 0 -
face_encoder_blocks.5.1 Conv 512 512 3 1 1 1 0 res
face_encoder_blocks.6.0 Conv 512 512 3 1 1 0 0 -
face_encoder_blocks.6.1 Conv 512 512 1 1 1 0 0 -
audio_encoder.0 Conv 1 32 3 1 1 1 0 -
audio_encoder.1 Conv 32 32 3 1 1 1 0 res
audio_encoder.2 Conv 32 32 3 1 1 1 0 res
audio_encoder.3 Conv 32 64 3 3 1 1 0 -
audio_encoder.4 Conv 64 64 3 1 1 1 0 res
audio_encoder.5 Conv 64 64 3 1 1 1 0 res
audio_encoder.6 Conv 64 128 3 3 3 1 0 -
audio_encoder.7 Conv 128 128 3 1 1 1 0 res
audio_encoder.8 Conv 128 128 3 1 1 1 0 res
audio_encoder.9 Conv 128 256 3 3 2 1 0 -
audio_encoder.10 Conv 256 256 3 1 1 1 0 res
audio_encoder.11 Conv 256 512 3 1 1 0 0 -
audio_encoder.12 Conv 512 512 1 1 1 0 0 -
face_decoder_blocks.0.0 Conv 512 512 1 1 1 0 0 -
face_decoder_blocks.1.0 ConvT 1024 512 3 1 1 0 0 -
face_decoder_blocks.1.1 Conv 512 512 3 1 1 1 0 res
face_decoder_blocks.2.0 ConvT 1024 512 3 2 2 1 1 -
face_decoder_blocks.2.1 Conv 512 512 3 1 1 1 0 res
face_decoder_blocks.2.2 Conv 512 512 3 1 1 1 0 res
face_decoder_blocks.3.0 ConvT 768 384 3 2 2 1 1 -
face_decoder_blocks.3.1 Conv 384 384 3 1 1 1 0 res
face_decoder_blocks.3.2 Conv 384 384 3 1 1 1 0 res
face_decoder_blocks.4.0 ConvT 512 256 3 2 2 1 1 -
face_decoder_blocks.4.1 Conv 256 256 3 1 1 1 0 res
face_decoder_blocks.4.2 Conv 256 256 3 1 1 1 0 res
face_decoder_blocks.5.0 ConvT 320 128 3 2 2 1 1 -
face_decoder_blocks.5.1 Conv 128 128 3 1 1 1 0 res
face_decoder_blocks.5.2 Conv 128 128 3 1 1 1 0 res
face_decoder_blocks.6.0 ConvT 160 64 3 2 2 1 1 -
face_decoder_blocks.6.1 Conv 64 64 3 1 1 1 0 res
face_decoder_blocks.6.2 Conv 64 64 3 1 1 1 0 res
output_block.0 Conv 80 32 3 1 1 1 0 -
output_block.1 Conv 32 3 1 1 1 0 0 -
"""
ROWS = [line.split() for line in PUBLISHED.strip().splitlines()]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def published_state():
    """Random values under the published names, scaled so that signals neither die nor explode."""
    g = torch.Generator().manual_seed(5)
    state = {}
    for name, kind, n_in, n_out, kernel, *_, residual in ROWS:
        n_in, n_out, k = int(n_in), int(n_out), int(kernel)
        shape = (n_out, n_in, k, k) if kind == "Conv" else (n_in, n_out, k, k)
        bare = name == "output_block.1"
        conv = name if bare else f"{name}.conv_block.0"
        state[f"{conv}.weight"] = torch.randn(shape, generator=g) * (2 / (n_in * k * k)) ** 0.5
        state[f"{conv}.bias"] = 0.1 * torch.randn(n_out, generator=g)
        if not bare:
            norm = f"{name}.conv_block.1"
            low = 0.2 if residual == "res" else 0.5
            state[f"{norm}.weight"] = low + 0.5 * torch.rand(n_out, generator=g)
            state[f"{norm}.bias"] = 0.1 * torch.randn(n_out, generator=g)
            state[f"{norm}.running_mean"] = 0.1 * torch.randn(n_out, generator=g)
            state[f"{norm}.running_var"] = 0.5 + torch.rand(n_out, generator=g)
            state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    return state


@pytest.fixture(scope="module")
def checkpoint(published_state, tmp_path_factory):
    """The file as it is published: prefixed names inside a dict with training state."""
    path = tmp_path_factory.mktemp("models") / "wav2lip_gan.pth"
    state = {f"module.{k}": v for k, v in published_state.items()}
    torch.save({"state_dict": state, "optimizer": None, "global_step": 3}, path)
    return path


def published_network(state, mel, faces):
    """The paper's network, read straight from the table."""

    def unit(row, x):
        name, kind, _, _, _, s_y, s_x, pad, grow, residual = row
        stride, pad = (int(s_y), int(s_x)), int(pad)
        if name == "output_block.1":
            return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])
        conv, norm = f"{name}.conv_block.0", f"{name}.conv_block.1"
        weight, bias = state[f"{conv}.weight"], state[f"{conv}.bias"]
        if kind == "Conv":
            y = F.conv2d(x, weight, bias, stride, pad)
        else:
            y = F.conv_transpose2d(x, weight, bias, stride, pad, int(grow))
        y = F.batch_norm(
            y,
            state[f"{norm}.running_mean"],
            state[f"{norm}.running_var"],
            state[f"{norm}.weight"],
            state[f"{norm}.bias"],
            eps=1e-5,
        )
        return F.relu(y + x) if residual == "res" else F.relu(y)

    def block(prefix, x):
        for row in ROWS:
            if row[0].startswith(prefix + "."):
                x = unit(row, x)
        return x

    features = []
    for i in range(7):
        faces = block(f"face_encoder_blocks.{i}", faces)
        features.append(faces)
    x = block("audio_encoder", mel)
    for i in range(7):
        x = torch.cat([block(f"face_decoder_blocks.{i}", x), features[6 - i]], dim=1)
    return torch.sigmoid(block("output_block", x))


def inputs(count=2):
    g = torch.Generator().manual_seed(9)
    mel = torch.rand(count, 1, 80, 16, generator=g) * 8 - 4
    return mel, torch.rand(count, 6, 96, 96, generator=g)


# --- the network -------------------------------------------------------------------------


@pytest.mark.slow
def test_output_equals_the_published_network(published_state, checkpoint):
    mel, faces = inputs()
    with torch.inference_mode():
        expected = published_network(published_state, mel, faces)
        got = wav2lip.load(checkpoint)(mel, faces)
    assert 0.05 < expected.std() < 0.4, "the random network must say something"
    assert got.shape == (2, 3, 96, 96)
    assert (got - expected).abs().max() < 1e-5


@pytest.mark.slow
def test_folding_the_batch_norms_changes_nothing(published_state, checkpoint):
    mel, faces = inputs()
    with torch.inference_mode():
        expected = published_network(published_state, mel, faces)
        got = wav2lip.load(checkpoint).fuse()(mel, faces)
    assert (got - expected).abs().max() < 1e-5


@pytest.mark.slow
def test_the_state_dict_has_the_published_entries(published_state):
    entries = wav2lip.Wav2Lip().state_dict()
    assert len(entries) == 352
    assert {k: v.shape for k, v in entries.items()} == {
        k: v.shape for k, v in published_state.items()
    }


# --- forms of checkpoints ----------------------------------------------------------------


def in_form(form, state, folder):
    path = folder / f"{form}.pth"
    if form == "bare":
        torch.save(state, path)
    elif form == "bare_prefixed":
        torch.save({f"module.{k}": v for k, v in state.items()}, path)
    elif form == "nested":
        torch.save({"state_dict": state, "global_epoch": 1}, path)
    elif form == "old_format":
        torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    elif form == "half_precision":
        torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    else:
        network = wav2lip.Wav2Lip()
        network.load_state_dict(state)
        if form == "torchscript_wrapped":
            network = Prefixed(network)
        if form == "torchscript_scripted":
            torch.jit.script(network.eval()).save(str(path))
        else:
            torch.jit.trace(network.eval(), inputs(1), check_trace=False).save(str(path))
    return path


class Prefixed(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, mel, faces):
        return self.module(mel, faces)


@pytest.mark.slow
@pytest.mark.parametrize(
    "form",
    [
        "bare",
        "bare_prefixed",
        "nested",
        "old_format",
        "torchscript",
        "torchscript_wrapped",
        "torchscript_scripted",
    ],
)
def test_every_form_of_checkpoint_loads_alike(form, published_state, tmp_path):
    loaded = wav2lip.load(in_form(form, published_state, tmp_path)).state_dict()
    for key, value in published_state.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(loaded[key], value), key


@pytest.mark.slow
def test_half_precision_values_are_widened(published_state, tmp_path):
    network = wav2lip.load(in_form("half_precision", published_state, tmp_path))
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.slow
def test_an_imported_checkpoint_is_kept_as_safetensors(
    published_state, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(wav2lip.checkpoint.assets, "model_folder", lambda: tmp_path / "models")
    imported = wav2lip.import_checkpoint(checkpoint)
    assert imported.suffix == ".safetensors" and imported.parent == tmp_path / "models"
    names = sorted(p.name for p in imported.parent.iterdir())
    assert names == [imported.name, f"{imported.stem}.sha256"]
    key = "audio_encoder.0.conv_block.0.weight"
    assert torch.equal(load_file(imported)[key], published_state[key])
    assert torch.equal(wav2lip.load(imported).state_dict()[key], published_state[key])
    assert wav2lip.imported() == imported
    with imported.open("r+b") as file:  # one bit in the middle of the weights
        file.seek(imported.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(AssetError, match="is damaged.*models import wav2lip"):
        wav2lip.imported()


@pytest.mark.slow
def test_a_missing_layer_is_named(published_state, tmp_path):
    state = dict(published_state)
    del state["audio_encoder.3.conv_block.0.bias"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(AssetError, match=r"1 missing, first audio_encoder\.3\.conv_block\.0\.bias"):
        wav2lip.load(tmp_path / "w.pth")


@pytest.mark.slow
def test_an_unexpected_layer_is_named(published_state, tmp_path):
    torch.save({**published_state, "sam.sa.conv1.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(AssetError, match=r"unexpected, first sam\.sa\.conv1\.weight"):
        wav2lip.load(tmp_path / "w.pth")


@pytest.mark.slow
def test_a_layer_of_another_shape_is_named_with_both_shapes(published_state, tmp_path):
    key = "output_block.1.weight"
    torch.save({**published_state, key: torch.zeros(3, 64, 1, 1)}, tmp_path / "w.pth")
    with pytest.raises(AssetError, match=r"output_block\.1\.weight.*\(3, 32, 1, 1\).*64"):
        wav2lip.load(tmp_path / "w.pth")


class Payload:
    """Unpickling this would leave a file behind."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


@pytest.mark.slow
def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path):
    trace = tmp_path / "it_ran"
    torch.save({"state_dict": Payload(str(trace))}, tmp_path / "evil.pth")
    with pytest.raises(AssetError, match="evil.pth"):
        wav2lip.load(tmp_path / "evil.pth")
    assert not trace.exists()


class RestoresItself(torch.nn.Module):
    """Its archive writes a file when a loader restores it."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target, self.training = state
        torch.save(torch.zeros(1), self.target)


@pytest.mark.fault
@pytest.mark.slow
def test_the_code_of_a_torchscript_archive_is_never_run(tmp_path):
    written = tmp_path / "it_ran"
    archive = tmp_path / "evil.pth"
    torch.jit.script(RestoresItself(str(written))).save(str(archive))
    torch.jit.load(str(archive))
    assert written.exists(), "the archive must be dangerous to a loader that runs its code"
    written.unlink()
    with pytest.raises(AssetError, match=r"evil\.pth .*restores itself with code"):
        wav2lip.load(archive)
    with pytest.raises(AssetError, match=r"evil\.pth"):
        wav2lip.import_checkpoint(archive)
    assert not written.exists()


@pytest.mark.fault
@pytest.mark.parametrize(
    ("written", "match"),
    [
        (b"cos\nsystem\n(S'touch %s'\ntR.", "names os.system"),
        (b"c__torch__.M\nX\n(S'touch %s'\ntR.", "cannot be read"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n}(S'a'\nS'%s'\nu\x86R.", "cannot be read"),
    ],
)
@pytest.mark.slow
def test_a_forged_pickle_in_an_archive_is_refused(written, match, tmp_path):
    trace, archive = tmp_path / "it_ran", tmp_path / "evil.pth"
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("m/constants.pkl", b"\x80\x02).")
        z.writestr("m/data.pkl", b"\x80\x02" + written.replace(b"%s", bytes(trace)))
    with pytest.raises(AssetError, match=match):
        wav2lip.load(archive)
    assert not trace.exists()


@pytest.mark.fault
@pytest.mark.slow
def test_a_storage_that_would_unpack_to_another_size_is_refused(tmp_path):
    layer = torch.nn.Linear(64, 64)
    archive, packed = tmp_path / "m.pth", tmp_path / "packed.pth"
    torch.jit.script(layer).save(str(archive))
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(packed, "w") as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member), zipfile.ZIP_DEFLATED)
    with pytest.raises(AssetError, match="another size than it states"):
        wav2lip.load(packed)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_are_not_finite_are_refused(value, suffix, published_state, tmp_path):
    key = "audio_encoder.3.conv_block.0.bias"
    broken = published_state[key].clone()
    broken[2] = value
    path = tmp_path / f"w{suffix}"
    state = {**published_state, key: broken}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    with pytest.raises(AssetError, match=rf"{re.escape(key)} .*1 of 64 are NaN or infinite"):
        wav2lip.load(path)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("output_block.1.bias", torch.zeros(3, dtype=torch.int32), "floating-point"),
        ("output_block.1.bias", torch.full((3,), 1e300, dtype=torch.float64), "infinite"),
        ("output_block.0.conv_block.1.running_var", -torch.ones(32), "below zero"),
    ],
)
def test_weights_of_another_kind_are_refused(key, value, match, published_state, tmp_path):
    torch.save({**published_state, key: value}, tmp_path / "w.pth")
    with pytest.raises(AssetError, match=rf"{re.escape(key)}.*{match}"):
        wav2lip.load(tmp_path / "w.pth")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_checkpoint_gives_one_clear_line(content, tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(AssetError) as caught:
        wav2lip.load(path)
    assert "w.pth" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(AssetError, match=r"no Wav2Lip checkpoint at .*absent\.pth"):
        wav2lip.load(tmp_path / "absent.pth")


# --- sound -------------------------------------------------------------------------------


def published_mel(samples):
    """The publication's own steps, with librosa and scipy."""
    import librosa
    from scipy.signal import lfilter

    emphasised = lfilter([1, -0.97], [1], samples)
    spectrum = librosa.stft(
        y=emphasised, n_fft=800, hop_length=200, win_length=800, pad_mode="reflect"
    )
    filters = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    floor = np.exp(-100 / 20 * np.log(10))
    level = 20 * np.log10(np.maximum(floor, filters @ np.abs(spectrum))) - 20
    return np.clip(8 * ((level + 100) / 100) - 4, -4, 4)


def chirp(seconds=2.0):
    t = np.arange(int(16000 * seconds)) / 16000
    sweep = 0.4 * np.sin(2 * np.pi * (100 + 1500 * t) * t) * (t % 0.5 < 0.4)
    return (sweep + 1e-3 * np.random.default_rng(3).standard_normal(len(t))).astype(np.float32)


@pytest.mark.slow
def test_mel_equals_the_published_steps():
    samples = chirp()
    expected = published_mel(samples)
    got = wav2lip.mel_spectrogram(samples)
    assert got.dtype == np.float32 and got.shape == expected.shape == (80, 161)
    assert np.abs(got - expected).max() < 1e-3


def test_digital_silence_is_the_floor():
    assert np.all(wav2lip.mel_spectrogram(np.zeros(16000, np.float32)) == -4)


def test_very_short_sound_still_fills_one_window():
    mel = wav2lip.mel_spectrogram(np.zeros(100, np.float32))
    assert wav2lip.mel_windows(mel, [0.0]).shape == (1, 1, 80, 16)


@pytest.mark.parametrize("rate_hz", [24000 / 1001, 25, 30, 50])
def test_windows_start_where_the_publication_starts_them(rate_hz):
    mel = np.tile(np.arange(400, dtype=np.float32), (80, 1))
    count = int(4 * rate_hz)
    got = wav2lip.mel_windows(mel, np.arange(count) / rate_hz)[:, 0, 0, 0]
    expected = [int(80 * i / rate_hz) for i in range(count)]
    assert list(got) == expected


def test_windows_follow_each_frames_own_time_and_stop_at_the_end():
    mel = np.tile(np.arange(100, dtype=np.float32), (80, 1))
    got = wav2lip.mel_windows(mel, [0.0, 0.1, 0.5, 1.2, 99.0])[:, 0, 0]
    assert list(got[:, 0]) == [0, 8, 40, 84, 84]
    assert list(got[0]) == list(range(16))


# --- geometry and paste-back -------------------------------------------------------------


class FakeTrack:
    def __init__(self, boxes, detected=None, cut=None, size=(320, 240)):
        boxes = np.asarray(boxes, np.float32)
        low, high = boxes[:, None, :2], boxes[:, None, 2:]
        share = np.random.default_rng(1).random((1, 468, 2)).astype(np.float32)
        share[:, 0], share[:, 1] = 0, 1
        flat = low + share * (high - low)
        self.points = np.concatenate([flat, np.zeros_like(flat[..., :1])], axis=-1)
        self.detected = np.ones(len(boxes), bool) if detected is None else np.asarray(detected)
        self.cut = np.zeros(len(boxes), bool) if cut is None else np.asarray(cut)
        self.width, self.height = size


class FakeAvatar:
    def __init__(self, track):
        self.track = track
        self.usable = track.detected


def boxes_of(track):
    size = (track.width, track.height)
    return wav2lip.face_boxes(track.points, track.detected, track.cut, size)


def test_the_box_reaches_ten_pixels_below_the_chin_and_stays_in_the_picture():
    assert list(boxes_of(FakeTrack([[100, 50, 200, 180]]))[0]) == [100, 50, 200, 190]
    assert list(boxes_of(FakeTrack([[-20, 50, 100, 236]]))[0]) == [0, 50, 100, 240]


def test_boxes_are_averaged_over_five_frames_of_one_shot_only():
    corners = [[x, 50, x + 100, 150] for x in (10, 20, 30, 40, 50, 200, 200)]
    cut = [False] * 5 + [True, False]
    boxes = boxes_of(FakeTrack(corners, cut=cut))
    assert boxes[2, 0] == 30 and boxes[4, 0] == 40
    assert boxes[5, 0] == 200, "the shot before the cut must not pull the box"


def test_the_mask_takes_the_hidden_half_and_fades_out():
    mask = wav2lip.mouth_mask()
    assert mask.max() == 1 and mask.min() == 0
    assert not mask[:44].any(), "eyes and nose are the person's own"
    assert not mask[:, [0, -1]].any() and not mask[-1].any()
    assert mask[60:80, 33:63].min() == 1, "the mouth itself is all the network's"
    assert np.abs(np.diff(mask, axis=0)).max() < 0.2


@pytest.mark.slow
def test_render_gives_patches_where_there_is_a_face(checkpoint):
    track = FakeTrack([[100, 40, 220, 200]] * 3, detected=[True, True, False])
    engine = wav2lip.Wav2LipEngine(checkpoint, "cpu", batch_size=2)
    renderer = wav2lip.Wav2LipRenderer(engine, FakeAvatar(track))
    renderer.plan(None, chirp(0.6), timeline_of([0, 1, 2, 1], rate=10))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in range(4)]
    patches = renderer.render_batch(images, [0, 1, 2, 3])
    assert patches[2] is None
    first = patches[0]
    assert (first.x, first.y) == (100, 40)
    assert first.image.shape == (170, 120, 3) and first.image.dtype == np.uint8
    assert first.mask.shape == (170, 120) and 0 <= first.mask.min() < first.mask.max() <= 1
    alone = renderer.render(images[3], 3)
    assert np.abs(alone.image.astype(int) - patches[3].image).max() <= 1


@pytest.mark.fault
@pytest.mark.slow
def test_memory_that_runs_out_leaves_no_crop_out(checkpoint, monkeypatch):
    engine = wav2lip.Wav2LipEngine(checkpoint, "cpu", batch_size=4)
    mel = wav2lip.mel_spectrogram(chirp())
    crops = np.random.default_rng(4).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    times_s = np.arange(3) / 10
    sizes = []

    def full(crops, windows):
        sizes.append(len(crops))
        if len(sizes) in (1, 4):  # two, and later not even one
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 255 - crops

    monkeypatch.setattr(engine, "_generated", full)
    drawn = engine.mouths(crops[:2], times_s[:2], mel)
    assert sizes == [2, 1, 1] and "at most 1 at once" in engine.notes[0]
    drawn = np.concatenate([drawn, engine.mouths(crops[2:], times_s[2:], mel)])
    assert "the CPU does the rest" in engine.notes[0]
    assert np.array_equal(drawn, 255 - crops)


@pytest.mark.slow
def test_the_engine_speaks_rgb_and_hides_the_mouth(published_state, checkpoint):
    engine = wav2lip.Wav2LipEngine(checkpoint, "cpu")
    mel = wav2lip.mel_spectrogram(chirp())
    crops = np.random.default_rng(2).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    got = engine.mouths(crops, [0.5], mel)
    bgr = torch.from_numpy(crops[..., ::-1].copy()).permute(0, 3, 1, 2) / 255.0
    hidden = bgr.clone()
    hidden[:, :, 48:] = 0
    window = torch.from_numpy(mel[None, None, :, 40:56])
    with torch.inference_mode():
        expected = published_network(published_state, window, torch.cat([hidden, bgr], dim=1))
    expected = 255 * expected.permute(0, 2, 3, 1).flip(-1).numpy()
    assert np.abs(got - expected).max() <= 0.51


@pytest.mark.slow
def test_offset_moves_the_audio_window_of_each_frame(checkpoint):
    track = FakeTrack([[100, 40, 220, 200]])
    engine = wav2lip.Wav2LipEngine(checkpoint, "cpu")
    image = np.full((240, 320, 3), 90, np.uint8)

    def spoken(time_s, offset_ms):
        renderer = wav2lip.Wav2LipRenderer(engine, FakeAvatar(track), offset_ms=offset_ms)
        timeline = Timeline(np.zeros(1, int), np.array([time_s]), Fraction(25), 1)
        renderer.plan(None, chirp(1.0), timeline)
        return renderer.render(image, 0).image

    assert np.array_equal(spoken(0.3, 0.0), spoken(0.4, 100.0))
    assert not np.array_equal(spoken(0.3, 0.0), spoken(0.4, 0.0))
