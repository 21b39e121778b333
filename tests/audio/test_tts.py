"""Text becomes speech that a listener, and a mouth, can follow."""

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
def test_speaks_and_knows_when_each_phone_is(language, text):
    said = tts.synthesize(text, language)
    assert said.samples.dtype == np.float32 and said.samples.ndim == 1
    assert 1.0 < said.duration_s < 6.0
    assert 0.1 < np.abs(said.samples).max() <= 1.0
    starts, ends, symbols = zip(*said.phones, strict=True)
    assert starts[0] == 0 and abs(ends[-1] - said.duration_s) < 1e-3
    assert starts[1:] == ends[:-1], "phones leave a gap"
    # The loudest fifth of the speech are vowels, not pauses.
    pause = [_loudness(said, a, b) for a, b, s in said.phones if s == "" and b - a > 0.1]
    vowel = [_loudness(said, a, b) for a, b, s in said.phones if "ˈ" in s]
    assert vowel and np.median(vowel) > 10 * max(pause, default=0)


def test_phone_times_fit_the_sound():
    """A hiss is where the phones say: the share of energy above 4 kHz tells."""
    said = tts.synthesize("a sassy sea, a saucy sigh", "en-us")
    hiss, voiced = [], []
    for a, b, symbol in said.phones:
        piece = said.samples[int(a * said.rate_hz) : int(b * said.rate_hz)]
        if len(piece) < 400 or not symbol:
            continue
        power = np.abs(np.fft.rfft(piece)) ** 2
        high = power[np.fft.rfftfreq(len(piece), 1 / said.rate_hz) > 4000].sum() / power.sum()
        (hiss if symbol == "s" else voiced).append(high)
    assert len(hiss) >= 5 and np.median(hiss) > 5 * np.median(voiced)


def _digests(count=1, workers=1):
    """Hashes of one text spoken several times by a voice with breath in it."""
    voice = tts.EspeakVoice(variant="f2")

    def say(_):
        said = tts.synthesize("one saucy sigh and the same", "en-us", voice=voice)
        return hashlib.sha256(said.samples.tobytes()).hexdigest()

    with ThreadPoolExecutor(workers) as pool:
        return set(pool.map(say, range(count)))


def test_same_text_same_sound_again_in_threads_and_in_another_process():
    """A run that is repeated must be recognised as done, by the hash of what it made."""
    here = _digests(3) | _digests(24, workers=6)
    code = "import test_tts; print(*test_tts._digests())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert len(here) == 1 and set(done.stdout.split()) == here, done.stderr


def test_markup_and_control_characters_are_not_read_aloud():
    plain = tts.synthesize("good morning to you", "en-us")
    marked = tts.synthesize(
        '<speak>good\x00 <break time="5s"/>morning\u202e to <emphasis>you</emphasis></speak>\n',
        "en-us",
    )
    assert [p[2] for p in marked.phones] == [p[2] for p in plain.phones]
    assert tts.clean("3 < 4 &amp; 5") == "3 < 4 & 5"


@pytest.mark.parametrize("text", ["", "   \n", "<speak></speak>", "...!", "\x00", 7, None])
def test_nothing_to_say_is_a_parameter_error(text):
    with pytest.raises(ParameterError, match="text"):
        tts.synthesize(text, "en-us")


@pytest.mark.parametrize("language", ["xx-yy", "", "../../etc", "en-us\0", None])
def test_unknown_language_is_named(language):
    with pytest.raises(ParameterError, match="language") as caught:
        tts.synthesize("hello", language)
    assert "en-us" in caught.value.remedy


def test_languages_go_by_their_common_names():
    def same(first, second, text):
        one, other = (tts.synthesize(text, tag).samples for tag in (first, second))
        return np.array_equal(one, other)

    assert same("zh", "cmn", "你好") and same("zh-CN", "cmn", "你好")
    assert same("en", "en_GB", "tomato") and not same("en-us", "en-gb", "tomato, a dance")
    assert same("fr", "fr-fr", "bonjour") and not same("fr", "de", "bonjour")


def test_unknown_variant_is_named():
    with pytest.raises(ParameterError, match="nobody"):
        tts.synthesize("hello", voice=tts.EspeakVoice(variant="nobody"))


def test_a_voice_of_ones_own(monkeypatch, tmp_path):
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
    said = tts.synthesize("hello", "tlh", voice="my_voice:Hum")
    assert len(said.samples) == 500 and said.rate_hz == 8000 and said.phones is None
    for bad in ("my_voice:Broken", "my_voice:Silent", "my_voice:nothing", "my_voice:absent"):
        with pytest.raises(ParameterError, match=bad):
            tts.synthesize("hello", voice=bad)
    for bad in ("no_such_module:x", "nobody"):
        with pytest.raises(ParameterError, match="voice"):
            tts.synthesize("hello", voice=bad)


def test_missing_library_says_how_to_get_it():
    code = (
        "import sys; sys.modules['espeakng_loader'] = None\n"
        "from heygem.audio import tts as speech\n"
        "from heygem.core.errors import AssetError\n"
        "try:\n"
        "    speech.synthesize('hello')\n"
        "except AssetError as e:\n"
        "    print(e.remedy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install espeakng-loader" in done.stdout, done.stderr


def test_library_folder_with_a_very_long_name(tmp_path):
    """The library cuts its folder's name at 160 bytes; an environment may lie deeper."""
    import espeakng_loader

    deep = tmp_path.joinpath(*["a folder with a long name " + "x" * 40] * 4)
    deep.mkdir(parents=True)
    (deep / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    code = (
        "import espeakng_loader, sys\n"
        "espeakng_loader.get_data_path = lambda: sys.argv[1]\n"
        "from heygem.audio import tts as speech\n"
        "print(speech.synthesize('hello').duration_s)\n"
    )
    command = [sys.executable, "-c", code, str(deep / "espeak-ng-data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and float(done.stdout) > 0.2, done.stderr
