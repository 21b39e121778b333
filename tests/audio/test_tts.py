"""Text to speech: phone times, reproducibility, clean text, languages, pluggable voices."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from heygem.audio import tts
from heygem.core.errors import ParameterError


def _loudness(utterance, start_s, end_s):
    a, b = (int(t * utterance.rate_hz) for t in (start_s, end_s))
    return float(np.sqrt(np.mean(utterance.samples[a:b] ** 2)))


@pytest.mark.parametrize(
    ("language", "text"),
    [("en-us", "Papa made my baby some soup."), ("cmn", "大家好，今天我们学习人工智能。")],
)
def test_speech_has_plausible_length_level_and_phone_times(language, text):
    utterance = tts.synthesize(text, language)
    assert utterance.samples.dtype == np.float32 and utterance.samples.ndim == 1
    assert 1.0 < utterance.duration_s < 6.0
    assert 0.1 < np.abs(utterance.samples).max() <= 1.0
    starts, ends, symbols = zip(*utterance.phones, strict=True)
    assert starts[0] == 0 and abs(ends[-1] - utterance.duration_s) < 1e-3
    assert starts[1:] == ends[:-1], "phones leave a gap"
    # The loudest fifth of the speech are vowels, not pauses.
    pause = [_loudness(utterance, a, b) for a, b, s in utterance.phones if s == "" and b - a > 0.1]
    vowel = [_loudness(utterance, a, b) for a, b, s in utterance.phones if "ˈ" in s]
    assert vowel and np.median(vowel) > 10 * max(pause, default=0)


def test_phone_times_match_the_audio():
    """The share of energy above 4 kHz is high exactly within the phones /s/."""
    utterance = tts.synthesize("a sassy sea, a saucy sigh", "en-us")
    hiss, voiced = [], []
    for a, b, symbol in utterance.phones:
        piece = utterance.samples[int(a * utterance.rate_hz) : int(b * utterance.rate_hz)]
        if len(piece) < 400 or not symbol:
            continue
        power = np.abs(np.fft.rfft(piece)) ** 2
        high = power[np.fft.rfftfreq(len(piece), 1 / utterance.rate_hz) > 4000].sum() / power.sum()
        (hiss if symbol == "s" else voiced).append(high)
    assert len(hiss) >= 5 and np.median(hiss) > 5 * np.median(voiced)


def _digests(count=1, workers=1):
    """Hashes of one text spoken several times by a voice with breath in it."""
    voice = tts.EspeakVoice(variant="f2")

    def digest(_):
        utterance = tts.synthesize("one saucy sigh and the same", "en-us", voice=voice)
        return hashlib.sha256(utterance.samples.tobytes()).hexdigest()

    with ThreadPoolExecutor(workers) as pool:
        return set(pool.map(digest, range(count)))


@pytest.mark.slow
def test_the_same_text_gives_the_same_samples_in_threads_and_other_processes():
    """A repeated run is recognised as done by the hash of its audio."""
    digests = _digests(3) | _digests(24, workers=6)
    code = "import test_tts; print(*test_tts._digests())"
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert len(digests) == 1 and set(process.stdout.split()) == digests, process.stderr


def test_markup_and_control_characters_are_not_spoken():
    plain = tts.synthesize("good morning to you", "en-us")
    marked = tts.synthesize(
        '<speak>good\x00 <break time="5s"/>morning\u202e to <emphasis>you</emphasis></speak>\n',
        "en-us",
    )
    assert [p[2] for p in marked.phones] == [p[2] for p in plain.phones]
    assert tts.clean("3 < 4 &amp; 5") == "3 < 4 & 5"


@pytest.mark.parametrize("text", ["", "   \n", "<speak></speak>", "...!", "\x00", 7, None])
def test_text_without_words_is_a_parameter_error(text):
    with pytest.raises(ParameterError, match="text"):
        tts.synthesize(text, "en-us")


@pytest.mark.parametrize("language", ["xx-yy", "", "../../etc", "en-us\0", None])
def test_an_unknown_language_is_refused_with_a_remedy(language):
    with pytest.raises(ParameterError, match="language") as caught:
        tts.synthesize("hello", language)
    assert "en-us" in caught.value.remedy


@pytest.mark.slow
def test_languages_are_accepted_under_their_common_tags():
    def same(first, second, text):
        one, other = (tts.synthesize(text, tag).samples for tag in (first, second))
        return np.array_equal(one, other)

    assert same("zh", "cmn", "你好") and same("zh-CN", "cmn", "你好")
    assert same("en", "en_GB", "tomato") and not same("en-us", "en-gb", "tomato, a dance")
    assert same("fr", "fr-fr", "bonjour") and not same("fr", "de", "bonjour")


def test_an_unknown_variant_is_refused():
    with pytest.raises(ParameterError, match="nobody"):
        tts.synthesize("hello", voice=tts.EspeakVoice(variant="nobody"))


def test_a_user_defined_voice(monkeypatch, tmp_path):
    (tmp_path / "my_voice.py").write_text(
        "import numpy as np\n"
        "from heygem.audio.tts import Utterance\n"
        "class Hum:\n"
        "    def synthesize(self, text, language):\n"
        "        n = 100 * len(text)\n"
        "        return Utterance(np.full(n, 0.1, np.float32), 8000)\n"
        "class Broken:\n"
        "    def synthesize(self, text, language):\n"
        "        raise RuntimeError('no licence')\n"
        "class Silent:\n"
        "    def synthesize(self, text, language):\n"
        "        return Utterance(np.zeros(800, np.float32), 8000)\n"
        "def nothing():\n"
        "    return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    utterance = tts.synthesize("hello", "tlh", voice="my_voice:Hum")
    assert len(utterance.samples) == 500 and utterance.rate_hz == 8000 and utterance.phones is None
    for bad in ("my_voice:Broken", "my_voice:Silent", "my_voice:nothing", "my_voice:absent"):
        with pytest.raises(ParameterError, match=bad):
            tts.synthesize("hello", voice=bad)
    for bad in ("no_such_module:x", "nobody"):
        with pytest.raises(ParameterError, match="voice"):
            tts.synthesize("hello", voice=bad)


@pytest.mark.slow
def test_a_missing_library_is_reported_with_how_to_install_it():
    code = (
        "import sys; sys.modules['espeakng_loader'] = None\n"
        "from heygem.audio import tts\n"
        "from heygem.core.errors import AssetError\n"
        "try:\n"
        "    tts.synthesize('hello')\n"
        "except AssetError as e:\n"
        "    print(e.remedy)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert "pip install espeakng-loader" in process.stdout, process.stderr


@pytest.mark.slow
def test_the_library_works_in_a_folder_with_a_very_long_name(tmp_path):
    """The library truncates its data path at 160 bytes; an environment may lie deeper."""
    import espeakng_loader

    deep = tmp_path.joinpath(*["a folder with a long name " + "x" * 40] * 4)
    deep.mkdir(parents=True)
    (deep / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    code = (
        "import espeakng_loader, sys\n"
        "espeakng_loader.get_data_path = lambda: sys.argv[1]\n"
        "from heygem.audio import tts\n"
        "print(tts.synthesize('hello').duration_s)\n"
    )
    command = [sys.executable, "-c", code, str(deep / "espeak-ng-data")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0 and float(process.stdout) > 0.2, process.stderr
