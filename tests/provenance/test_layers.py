"""A finished file answers for itself; a stripped copy still leads to its run."""

import datetime
import json
import shutil
import wave

import cv2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image
from pypdf import PdfReader
from typer import Typer
from typer.testing import CliRunner

from heygem import media
from heygem.cli import provenance
from heygem.config.params import LabelSettings
from heygem.core.errors import ConsentError, HeygemError, InputError, OutputError
from heygem.experiments import store
from heygem.provenance import consent, containers, credentials, keys, trace
from heygem.provenance import verify as back
from heygem.provenance.labeller import Labeller
from heygem.provenance.ledger import Ledger, file_hash
from heygem.provenance.watermark.codec import CODE_BITS, decode, encode
from heygem.provenance.watermark.detect import WatermarkDetector
from heygem.provenance.watermark.embed import MIN_PSNR_DB, WatermarkEmbedder

RATE = 25
WIDTH, HEIGHT = 480, 272
SECONDS = 3.0


def scene(k, seed=0):
    """A moving scene with texture, as uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(60, 190, (9, 16, 3)).astype(np.uint8), (WIDTH, HEIGHT))
    grain = np.random.default_rng(1000 * seed + k).normal(0, 2, ground.shape)
    image = np.clip(ground + grain, 0, 255).astype(np.uint8)
    centre = (int(240 + 60 * np.sin(k / 9)), int(140 + 10 * np.cos(k / 5)))
    cv2.ellipse(image, centre, (50, 70), 5 * np.sin(k / 7), 0, 360, (200, 160, 140), -1)
    return image


def voice(seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(SECONDS * 16000)) / 16000
    pitch = 120 + 40 * np.interp(t, np.linspace(0, SECONDS, 12), rng.normal(0, 1, 12))
    tone = sum(np.sin(2 * np.pi * np.cumsum(pitch * h) / 16000) / h for h in range(1, 12))
    loud = np.interp(t, np.linspace(0, SECONDS, 20), rng.uniform(0, 0.15, 20))
    return (tone * loud + rng.normal(0, 0.005, len(t))).astype(np.float32)[:, None]


def write(path, images, *, tags=None, sound=None, crf=18, rate=RATE):
    track = None if sound is None else media.AudioTrack(sound, 16000)
    height, width = images[0].shape[:2]
    with media.VideoWriter(
        path, width=width, height=height, rate=rate, audio=track, crf=crf, metadata=tags or {},
        preset="veryfast",
    ) as writer:  # fmt: skip
        for k, image in enumerate(images):
            writer.write(image, k / rate)
    return path


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An installation with keys, a ledger, a recording and one labelled result of it."""
    root = tmp_path_factory.mktemp("home")
    mine = keys.init(root / "keys")
    book = Ledger(root / "ledger.db", keys=mine)
    images = [scene(k) for k in range(int(SECONDS * RATE))]
    source = write(root / "source.mp4", images, tags={"comment": "recorded in the park"})
    sound = voice()
    result = root / "result.mp4"
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=mine, keep_clear=[(180, 60, 300, 220)])
    stamped = [labeller.label_frame(image, k / RATE) for k, image in enumerate(images)]
    write(result, stamped, tags=labeller.tags, sound=sound)
    facts = {"sources": {"video": file_hash(source), "sound": "5" * 64}, "run": "r-17"}
    sealed = labeller.finalize(
        result,
        ledger=book,
        parent=source,
        sound=(sound[:, 0], 16000),
        facts=facts,
        title="result.mp4",
    )
    return type("House", (), dict(
        root=root, keys=mine, book=book, source=source, result=result, images=images,
        stamped=stamped, labeller=labeller, sealed=sealed, sound=sound,
    ))  # fmt: skip


def read(house, path, **more):
    return back.verify_file(path, keys=house.keys, known_ids=house.book.watermark_ids(), **more)


def test_a_result_passes_every_layer_and_names_its_run(house):
    found = read(house, house.result)
    assert {name: layer.verdict for name, layer in found.layers.items()} == {
        "visible": "compliant",
        "metadata": "compliant",
        "c2pa": "compliant",
        "watermark": "compliant",
    }  # fmt: skip
    assert found.verdict == "compliant"
    assert found.layers["metadata"].values["signed_by_us"] is True
    origin = trace.find_origin(found, house.book)
    assert origin.entry.body["run"] == "r-17"
    assert origin.evidence == ["hash", "metadata", "watermark", "fingerprint"]


def test_the_record_knows_the_finished_file(house):
    (entry,) = house.book.entries(kind="made")
    assert entry.subject == file_hash(house.result)
    assert entry.body["layers"] == {
        "visible": "written", "metadata": "written", "watermark": "written", "c2pa": "written",
    }  # fmt: skip
    assert house.book.verify() == []


def test_the_source_has_no_label(house):
    found = read(house, house.source)
    assert found.verdict == "not found"
    assert found.layers["metadata"].verdict == "not found"
    assert found.layers["watermark"].verdict == "not found"
    assert found.layers["visible"].verdict == "inconclusive"


def test_a_stripped_scaled_reencoded_copy_is_traced_by_its_mark(house, tmp_path):
    # Keys and ids differ from run to run; on so small a picture a harder copy loses some of them.
    small = [cv2.resize(i, (408, 232), interpolation=cv2.INTER_AREA) for i in house.stamped]
    copy = write(tmp_path / "copy.mp4", small, sound=house.sound, crf=20)
    found = read(house, copy)
    assert found.layers["metadata"].verdict == "not found"
    assert found.layers["c2pa"].verdict == "not found"
    origin = trace.find_origin(found, house.book)
    assert (
        origin.entry.body["run"] == "r-17" and "watermark" in origin.evidence and origin.is_proven
    )


def test_a_copy_without_its_mark_is_traced_by_looks_and_sound_and_said_to_be_probable(
    house, tmp_path
):
    copy = write(tmp_path / "copy.mp4", house.images, sound=house.sound, crf=30)
    origin = trace.find_origin(read(house, copy, search=False), house.book)
    assert origin.evidence == ["fingerprint"] and not origin.is_proven


def test_the_same_footage_with_another_sound_is_not_taken_for_it(house, tmp_path):
    other = write(tmp_path / "other.mp4", house.images, sound=voice(seed=5))
    assert trace.find_origin(read(house, other, search=False), house.book) is None


def test_another_installation_cannot_tell(house, tmp_path):
    other = keys.init(tmp_path / "keys")
    found = back.verify_file(house.result, keys=other, search=False)
    assert found.layers["watermark"].verdict == "not found"
    assert found.layers["metadata"].values["signed_by_us"] is None
    assert found.layers["c2pa"].verdict == "compliant"
    assert back.verify_file(house.result).layers["watermark"].verdict == "inconclusive"


def test_one_changed_byte_breaks_the_credentials(house, tmp_path):
    data = bytearray(house.result.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed.mp4").write_bytes(data)
    found = credentials.read(tmp_path / "changed.mp4", house.keys)
    assert found.state == "Invalid"
    assert credentials.read(house.result, house.keys).state == "Trusted"


def test_an_inputs_own_credentials_are_kept_inside(house, tmp_path):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=house.keys)
    images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(house.images[:10])]
    path = write(tmp_path / "again.mp4", images, tags=labeller.tags)
    sealed = labeller.finalize(path, ledger=house.book, parent=house.result)
    assert credentials.read(path, house.keys).parents == [True]
    assert credentials.read(house.result, house.keys).parents == [False]
    row = house.book.entries(kind="made")[-1]
    assert row.body["input_label"]["content"] == house.labeller.produce_id
    assert containers.read_tags(path) == [labeller.tags["AIGC"]]  # one label, the new one
    assert any("shorter than the 2 s" in note for note in sealed["notes"])


def test_a_failed_signing_leaves_the_file_and_nothing_else(house, tmp_path):
    path = tmp_path / "bad.mp4"
    path.write_bytes(b"not a video at all")
    with pytest.raises(OutputError):
        credentials.sign(path, house.keys, parent=house.source)
    assert path.read_bytes() == b"not a video at all"
    assert [p.name for p in tmp_path.iterdir()] == ["bad.mp4"]


def test_a_file_without_its_tag_is_not_sealed(house, tmp_path):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=house.keys)
    path = write(tmp_path / "bare.mp4", house.images[:10])
    rows = len(house.book.entries())
    with pytest.raises(OutputError, match="metadata label"):
        labeller.finalize(path, ledger=house.book, parent=house.source)
    assert len(house.book.entries()) == rows


def test_a_forged_content_number_is_noticed(house, tmp_path):
    tag = house.labeller.tags["AIGC"].replace(house.labeller.produce_id, "f" * 32)
    path = write(tmp_path / "forged.mp4", house.images[:10], tags={"AIGC": tag})
    layer = read(house, path, search=False).layers["metadata"]
    assert layer.verdict == "noncompliant" and "forged" in layer.findings[0]


def test_a_label_for_half_a_second_is_not_enough(house, tmp_path):
    from heygem.provenance import VisibleLabel

    label = VisibleLabel(LabelSettings(), WIDTH, HEIGHT)
    images = [label.draw(i) if k < 12 else i for k, i in enumerate(house.images)]
    path = write(tmp_path / "short.mp4", images)
    assert read(house, path, search=False).layers["visible"].verdict == "noncompliant"


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_other_containers_carry_the_tag(house, tmp_path, name):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=house.keys)
    images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(house.images[:10])]
    path = write(tmp_path / name, images, tags=labeller.tags)
    layers = labeller.finalize(path, ledger=house.book, parent=house.source)["layers"]
    assert containers.read_tags(path) == [labeller.tags["AIGC"]]
    assert layers["c2pa"] == ("written" if name.endswith("mov") else "not possible in .mkv")


def test_sounds_and_pictures_carry_the_tag(tmp_path, house):
    text = house.labeller.tags["AIGC"]
    with wave.open(str(tmp_path / "a.wav"), "wb") as w:
        w.setnchannels(1), w.setsampwidth(2), w.setframerate(16000)
        w.writeframes(np.arange(1601, dtype="<i2").tobytes())
    Image.fromarray(house.images[0]).save(tmp_path / "a.png")
    Image.fromarray(house.images[0]).save(tmp_path / "a.jpg")
    for name in ("a.wav", "a.png", "a.jpg"):
        before = media.read_audio(tmp_path / name).samples if name == "a.wav" else None
        containers.write_tag(tmp_path / name, "old")
        containers.write_tag(tmp_path / name, text)
        assert containers.read_tags(tmp_path / name) == [text]  # one, the newest
        if before is not None:
            assert (media.read_audio(tmp_path / name).samples == before).all()
    assert (np.asarray(Image.open(tmp_path / "a.png")) == house.images[0]).all()


def test_code_recovers_an_id_through_noise_and_rejects_noise():
    rng = np.random.default_rng(1)
    word = encode(0x0123456789ABCDEF)
    assert decode(word + rng.normal(0, 0.9, CODE_BITS)) == 0x0123456789ABCDEF
    assert all(decode(rng.normal(size=CODE_BITS)) is None for _ in range(50))


@pytest.mark.parametrize(("size", "most"), [((960, 640), 0.3), ((480, 272), 0.6)])
def test_most_of_the_picture_is_left_alone(size, most):
    grain = np.random.default_rng(3).normal(128, 2, (size[1], size[0], 1)).round()
    image = np.broadcast_to(grain, (size[1], size[0], 3)).astype(np.uint8)
    marked = WatermarkEmbedder(b"x" * 32, 5, *size).embed(image, 0.0)
    assert 0.1 < (marked != image).any(-1).mean() < most


@pytest.mark.parametrize("size", [(960, 640), (641, 479)])
def test_the_mark_in_torch_is_the_same_mark(size):
    from heygem.provenance.watermark.embed_torch import TorchWatermarkEmbedder

    here = WatermarkEmbedder(b"x" * 32, 77, *size)
    there = TorchWatermarkEmbedder(b"x" * 32, 77, *size, device="cpu")
    for k in (0, 5):  # both signs
        image = cv2.resize(scene(k), size)
        off = np.abs(here.embed(image, k / 25).astype(int) - there.embed(image, k / 25))
        assert off.max() <= 1 and (off > 0).mean() < 0.03
        assert np.abs(here.embed(image, k / 25).astype(int) - image).max() > 1


def test_mark_is_faint_and_colour_stays():
    mark = WatermarkEmbedder(bytes(32), 7, WIDTH, HEIGHT)
    image = scene(3)
    out = mark.embed(image, 0.1)
    error = np.mean((out.astype(float) - image) ** 2)
    assert 10 * np.log10(255**2 / error) >= MIN_PSNR_DB
    step = out.astype(int) - image
    assert (step[..., 0] == step[..., 1]).mean() > 0.99  # all channels alike, but for clipping


def attacked(house, kind):
    images, rate = house.stamped, RATE
    if kind == "mirrored":
        return [np.ascontiguousarray(i[:, ::-1]) for i in images], rate
    if kind == "cropped":
        return [np.ascontiguousarray(i[12:258, 24:456]) for i in images], rate
    if kind == "between bars":  # a wide picture on an upright screen
        return [np.pad(i, ((280, 280), (0, 0), (0, 0))) for i in images], rate
    if kind == "slower":
        return images[::2], rate / 2
    return images[31:], rate  # begins in the middle of a period


@pytest.mark.parametrize("kind", ["mirrored", "cropped", "slower", "trimmed", "between bars"])
def test_mark_survives(house, kind):
    images, rate = attacked(house, kind)
    reader = WatermarkDetector(house.keys.watermark_secret)
    for k, image in enumerate(images):
        reader.add(image, k / rate)
    assert reader.detect().watermark_id == house.labeller.watermark_id


def test_consent_and_takedown(tmp_path):
    book = Ledger(tmp_path / "l.db")
    assert consent.require(book, "v", "a", basis="own") == {"basis": "own"}
    with pytest.raises(ConsentError, match="no consent"):
        consent.require(book, "v", "a", basis="recorded")
    about = {"who": "P-12", "purpose": "training films", "reference": "file 7"}
    consent.record(book, "v", until="2999-01-01", **about)
    assert consent.require(book, "v", "a", basis="recorded")["reference"] == "file 7"
    consent.block(book, "a", reason="rumour")
    with pytest.raises(ConsentError, match="sound is blocked.*rumour"):
        consent.require(book, "v", "a", basis="own")
    consent.unblock(book, "a", reason="cleared")
    consent.record(book, "v", until="2020-01-01", **about)
    with pytest.raises(ConsentError, match="expired"):
        consent.require(book, "v", "a", basis="own")
    consent.withdraw(book, "v", reason="changed mind")
    with pytest.raises(ConsentError, match="withdrawn"):
        consent.require(book, "v", "a", basis="synthetic")


def test_keys_are_private_made_once_and_never_remade(tmp_path):
    made = keys.ensure(tmp_path / "k")
    assert keys.ensure(tmp_path / "k").public_hex == made.public_hex
    assert all((p.stat().st_mode & 0o077) == 0 for p in (tmp_path / "k").iterdir())
    with pytest.raises(HeygemError, match="has keys already"):
        keys.init(tmp_path / "k")
    (tmp_path / "k" / "mark.key").unlink()
    with pytest.raises(HeygemError, match="missing"):
        keys.ensure(tmp_path / "k")


def test_keys_open_to_others_are_refused(tmp_path):
    keys.init(tmp_path / "k")
    (tmp_path / "k" / "sign.key").chmod(0o644)
    with pytest.raises(HeygemError, match="chmod 600"):
        keys.load(tmp_path / "k")


def test_old_results_stay_trusted_after_a_new_certificate(house, tmp_path):
    import shutil

    shutil.copytree(house.keys.folder, tmp_path / "keys")
    renewed = keys.renew(tmp_path / "keys")
    assert renewed.chain_pem != house.keys.chain_pem
    assert credentials.read(house.result, renewed).state == "Trusted"


@pytest.fixture
def command(house, monkeypatch):
    monkeypatch.setenv("HEYGEM_RECORDS", str(house.root))
    app = Typer(pretty_exceptions_enable=False)
    provenance.mount(app)
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words])


def authority(folder, name="Example Ltd", curve=None, purpose=ExtendedKeyUsageOID.EMAIL_PROTECTION):
    """A certificate of somebody's own, under their own root: paths of chain and key."""
    root, leaf = (ec.generate_private_key(curve or ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{name} root")])
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)]
        if name
        else [x509.NameAttribute(NameOID.COMMON_NAME, "nobody")]
    )
    now = datetime.datetime.now(datetime.UTC)

    def certificate(subject, key, is_root):
        usage = dict.fromkeys(
            "content_commitment key_encipherment data_encipherment key_agreement encipher_only "
            "decipher_only".split(), False,
        )  # fmt: skip
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(is_root, None), True)
            .add_extension(x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root,
                                         crl_sign=is_root, **usage), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                root.public_key()), False)
        )  # fmt: skip
        if not is_root:
            made = made.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        return made.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    folder.mkdir(exist_ok=True)
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(certificate(subject, leaf, False) + certificate(issuer, root, True))
    key.write_bytes(
        leaf.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, key


def test_ones_own_certificate_signs_from_now_on(house, tmp_path):
    shutil.copytree(house.root / "keys", tmp_path / "keys")
    mine = keys.import_certificate(*authority(tmp_path / "own"), tmp_path / "keys")
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(house.source.read_bytes())
    signed = credentials.sign(copy, mine, parent=house.source)
    assert signed.state == "Trusted" and "Example Ltd" in signed.signer
    assert credentials.read(house.result, mine).state == "Trusted"  # and so does what was before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"curve": ec.SECP384R1()}, "not P-256"),
        ({"name": ""}, "no organisation"),
        ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "other purposes"),
    ],
)
def test_a_certificate_that_readers_would_refuse_is_refused(tmp_path, wrong, message):
    before = keys.init(tmp_path / "keys")
    with pytest.raises(InputError, match=message):
        keys.import_certificate(*authority(tmp_path / "own", **wrong), tmp_path / "keys")
    chain, _ = authority(tmp_path / "one")
    _, key = authority(tmp_path / "two")
    with pytest.raises(InputError, match="not the certificate's"):
        keys.import_certificate(chain, key, tmp_path / "keys")
    assert keys.load(tmp_path / "keys").chain_pem == before.chain_pem


def test_verify_prints_verdicts_and_leaves_with_codes(house, command, tmp_path):
    good = command("verify", house.result, "--json")
    assert good.exit_code == 0
    data = json.loads(good.stdout)
    assert data["verdict"] == "compliant" and data["origin"]["entry"]["body"]["run"] == "r-17"
    bare = write(tmp_path / "bare.mp4", [i[:, :100] for i in house.images[:10]])
    assert command("verify", bare, "--no-search").exit_code == 3
    assert command("verify", tmp_path / "none.mp4").exit_code == 2
    assert command("verify", house.result, tmp_path / "none.mp4", "--no-search").exit_code == 2


def test_trace_report_is_fit_to_send(house, command, tmp_path):
    out = tmp_path / "report.md"
    assert command("verify", house.result, "--report", out).exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert "Made by this installation" in text and "r-17" in text
    assert f"heygem consent block --sha256 {file_hash(house.source)}" in text


def test_the_report_as_pdf_says_the_same_and_drops_no_letter(house, command, tmp_path):
    copy = tmp_path / "生成 龘 <b>.mp4"
    copy.write_bytes(house.result.read_bytes())
    out = tmp_path / "report.pdf"
    assert command("verify", copy, "--report", out).exit_code == 0
    pages = PdfReader(out).pages
    said = "\n".join(page.extract_text() for page in pages).replace("\0", "")
    said = " ".join(said.split())
    assert "Trace report: 生成" in said
    assert "\\u9f98 <b>.mp4" in said  # in neither font
    assert "Made by this installation" in said and "r-17" in said
    assert file_hash(house.source)[:20] in said.replace(" ", "")
    assert [len(page.images) for page in pages][0] == 1  # what it looks like


def test_ledger_commands(house, command, tmp_path):
    assert command("ledger", "verify").exit_code == 0
    assert "result.mp4" in command("ledger", "list").stdout
    assert command("ledger", "export", tmp_path / "e.jsonl").exit_code == 0
    assert (tmp_path / "e.jsonl").read_text().count("\n") == len(house.book.entries())


def test_inventory_lists_what_the_kit_is_made_of(command, tmp_path):
    assert command("inventory", "--out", tmp_path).exit_code == 0
    text = (tmp_path / "inventory.md").read_text(encoding="utf-8")
    assert "face_landmark.tflite" in text and "OFL-1.1" in text and "no conclusion" in text
    bom = json.loads((tmp_path / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert bom["bomFormat"] == "CycloneDX" and bom["specVersion"] == "1.6"
    by_name = {c["name"]: c for c in bom["components"]}
    assert by_name["numpy"]["purl"].startswith("pkg:pypi/numpy@")
    assert len({c["bom-ref"] for c in bom["components"]}) == len(bom["components"])


def test_the_run_in_mlflow_is_found(house, tmp_path, monkeypatch):
    from types import SimpleNamespace

    asked = []

    class Store:  # a real one takes many seconds to be created
        def __init__(self, tracking_uri):
            asked.append(tracking_uri)

        def search_experiments(self):
            return [SimpleNamespace(experiment_id="1")]

        def search_runs(self, places, filter_string, max_results):
            assert places == ["1"] and filter_string.startswith("tags.`heygem.output_sha256` = ")
            info = SimpleNamespace(experiment_id="1", run_id="r" * 32)
            return [SimpleNamespace(info=info)] if "ab" * 32 in filter_string else []

    monkeypatch.setattr("mlflow.tracking.MlflowClient", Store)
    about = {"params": {"mlflow": {"enabled": True, "folder": str(tmp_path)}}}
    entry = house.book.append("made", "ab" * 32, about)
    assert store.run_of(entry) is None and not asked  # no store in that folder
    (tmp_path / "mlflow.db").touch()
    assert store.run_of(entry)["run_id"] == "r" * 32
    other = house.book.append("made", "cd" * 32, about)
    assert store.run_of(other) is None


def test_the_notebook_traces_a_file(house, tmp_path, monkeypatch):
    """Its cells, run in order as a kernel would, on a result and on a stranger's file."""
    import nbformat

    from heygem.batch import notebooks

    monkeypatch.setenv("HEYGEM_RECORDS", str(house.root))
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda m: shown.append(m.data))
    names = {}
    for cell in nbformat.read(notebooks.root() / "notebooks" / "30_trace.ipynb", 4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"files": [str(house.result), str(house.source)], "search": False}
    assert file_hash(house.source) in shown[0] and "Not made by this installation" in shown[1]
    assert len(list((tmp_path / "runs" / "trace").glob("*.md"))) == 2


def test_a_file_handed_over_in_the_page_is_traced(house, tmp_path, monkeypatch):
    from heygem.studio.pages.trace import Tracer

    monkeypatch.setenv("HEYGEM_RECORDS", str(house.root))
    page = Tracer(folder=tmp_path, out=tmp_path / "traced")
    item = {"name": "../../<i>wild.mp4", "content": house.result.read_bytes()}
    page._handed_over({"new": (item,)})
    assert page.worker.wait(120)
    assert "Made here." in page.told.value and "compliant" in page.told.value
    assert "<i>" not in page.told.value
    made = {path.name for path in (tmp_path / "traced").iterdir()}
    assert made == {"_i_wild.mp4", "_i_wild.pdf", "_i_wild.md"}
    page.trace(tmp_path / "nowhere.mp4")
    assert page.worker.wait(60) and "nowhere.mp4" in page.told.value


def test_consent_and_takedown_from_the_command_line(command, house, tmp_path):
    video = tmp_path / "person.mp4"
    video.write_bytes(b"somebody")
    about = ("--who", "P-1", "--purpose", "films", "--reference", "folder 3")
    assert command("consent", "add", video, *about, "--until", "2999-01-01").exit_code == 0
    sha256 = file_hash(video)
    assert consent.require(house.book, sha256, "a", basis="recorded")["reference"] == "folder 3"
    assert command("consent", "block", "--sha256", sha256, "--reason", "rumour").exit_code == 0
    with pytest.raises(ConsentError, match="rumour"):
        consent.require(house.book, sha256, "a", basis="recorded")
    wrong = command("consent", "add", video, *about, "--until", "soon")
    assert wrong.exit_code != 0 and "YYYY-MM-DD" in str(wrong.exception)
    assert "rumour" in command("ledger", "list", "--kind", "blocked").stdout


def test_keys_commands_show_no_secret(command, house):
    shown = command("keys", "show").stdout
    assert house.keys.name in shown and "holds until" in shown
    assert house.keys.watermark_secret.hex() not in shown and "PRIVATE" not in shown
    assert "has keys already" in str(command("keys", "init").exception)
