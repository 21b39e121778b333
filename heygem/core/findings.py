"""Good and bad things about inputs: what was found is a code with numbers; words come last.

So a page can say the same in Chinese, and a script can look for a code instead of a sentence.
"""

from dataclasses import dataclass, field

LANGUAGES = ("en", "zh")

#: By code: English, Chinese. Values go in by name.
WORDS = {
    "ADVICE": ("{text}", "建议：{text}"),
    "NOT_NUMBERS": (
        "{count} samples are not numbers; taken as silence",
        "{count} 个采样值不是数字，已按静音处理",
    ),
    "SILENT": (
        "the audio is silent: the mouth will stay shut",
        "音频没有声音：嘴会一直闭着",
    ),
    "LOW_LEVEL": (
        "very low level ({level_db:.0f} dBFS while sounding); record louder, or set a loudness "
        "target",
        "音量很低（有声时 {level_db:.0f} dBFS）；请提高录音音量，或设置目标响度",
    ),
    "CLIPPED": (
        "{share:.2%} of the samples are cut off at full scale; record with less gain",
        "{share:.2%} 的采样值削顶失真；请降低录音增益",
    ),
    "NO_SPEECH": (
        "no speech found (music or noise?); the mouth may move to anything that sounds",
        "没有检测到语音（音乐或噪声？）；嘴可能会随任何声音动",
    ),
    "NOT_SPEECH": (
        "{share:.0%} of the sound is not speech (music or noise?); use the voice alone where you "
        "can",
        "{share:.0%} 的声音不是语音（音乐或噪声？）；请尽量只用人声",
    ),
    "NOISY": (
        "something sounds under the words, only {under_db:.0f} dB below them (music or noise?); "
        "try denoise",
        "语音下有其他声音，只低 {under_db:.0f} dB（音乐或噪声？）；可试用降噪",
    ),
    "FACE_SMALL": (
        "the face is only {face_px:.0f} px wide: detail will be coarse",
        "人脸只有 {face_px:.0f} 像素宽：细节会较粗糙",
    ),
    "MOUTH_SHUT": (
        "the mouth never opens: its inside will be drawn",
        "嘴从未张开：口腔内部将由程序绘制",
    ),
    "SEVERAL_FACES": (
        "{faces} faces in the picture: check that the right one is followed",
        "画面中有 {faces} 张人脸：请确认跟踪的是正确的人",
    ),
    "TURNED_AWAY": (
        "the head is turned away much of the time: those frames stay untouched",
        "头部经常转开：这些帧会保持原样",
    ),
    "COVERED": (
        "something covers the face at times (hand, microphone, hair)",
        "脸部有时被遮挡（手、话筒、头发）",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One good or bad thing about an input.

    Attributes
    ----------
    level : {"info", "warning", "error"}
    code : str
        Of `WORDS`.
    values : dict
        Numbers that belong into the words.
    """

    level: str
    code: str
    values: dict = field(default_factory=dict)

    def text(self, lang: str = "en") -> str:
        """In words, as "en" or "zh"."""
        return WORDS[self.code][LANGUAGES.index(lang)].format(**self.values)

    @property
    def message(self) -> str:
        """In English."""
        return self.text()

    def plain(self) -> dict:
        """As kept in a report that is written to disk."""
        return {"level": self.level, "code": self.code, "values": dict(self.values)}


def of_report(report) -> list[Finding]:
    """The findings about a person, out of `heygem.avatar.Avatar.report`.

    A report that was kept before findings had codes says its advice in English alone.
    """
    if "findings" not in report:
        return [Finding("warning", "ADVICE", {"text": text}) for text in report.get("advice", ())]
    return [Finding(**one) for one in report["findings"] if one["code"] in WORDS]
