"""Which texts may stand as the visible label: they state that AI generated the video.

GB 45438-2025 §5.4 (known from quotations) asks for an AI element, 人工智能 or AI, and an element of
making, 生成 or 合成. A text is judged clause by clause, since a negation belongs to its own clause:
"AI生成，非真人" ("AI-generated, no real person") is a label, "非AI生成" ("not AI-generated") is
none.
"""

import re
import unicodedata

_AI = r"(?:人工智能|(?<![a-z0-9])ai(?![a-z0-9]))"
_MADE = {
    "zh": "生成|合成",
    "en": r"生成|合成|generat(?:ed|ion|ive)|synthe(?:tic|si[sz]ed)|made\b|created",
}
_CLAUSE_END = re.compile(r"[,.;:!|/\n()\[\]{}\"“”、。〈〉《》「」『』【】—–…]+")
_SPACE_BESIDE_CHINESE = re.compile(r"(?<=[\u4e00-\u9fff])\s+|\s+(?=[\u4e00-\u9fff])")
_QUESTION = re.compile(r"\?|是否|[吗嗎]")
_HEDGE = re.compile(
    r"疑似|可能|也许|或许|\b(?:may|might|maybe|perhaps|possibly|suspected|allegedly)\b",
    re.ASCII,  # a Chinese character ends an English word
)
# Words in which the character of a negation denies nothing.
_NOT_A_NEGATION = re.compile(
    r"非常|非洲|未来|未來|不断|不仅|不但|不同|不久|无限|无人机|无线|无锡|無限"
)
_NEGATION = re.compile(
    r"[非不没沒未无無否勿莫别假零反拒禁]|杜绝|谢绝|抵制|除外|以外"
    r"|\b(?:no|non|not|never|none|nor|neither|without|cannot|false|fake|zero|free|anti|un)\b"
    r"|n't\b|n’t\b|(?<![\d.])0+(?:\.0+)?\s*%",
    re.ASCII,
)
_FILLERS = re.compile(r"[是的了使用有并並由]|\b(?:is|it|this|that|was)\b", re.ASCII)


def normalized(text: str) -> str:
    """A text as it is compared: compatibility forms (full width), case and spacing made equal."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # invisible characters
    return _SPACE_BESIDE_CHINESE.sub("", text).strip()


def wording_problem(text: str, language: str = "zh") -> str | None:
    """Why a text does not state that AI generated the video; None if it does.

    Parameters
    ----------
    text
    language
        `zh`: the words of GB 45438-2025. `en`: English words of making are accepted as well.
    """
    text = normalized(text)
    clauses = [clause.strip(" -·") for clause in _CLAUSE_END.split(text)]
    making = re.compile(_MADE[language], re.ASCII)
    has_ai, has_both, previous_denies = False, False, False
    for clause in filter(None, clauses):
        names_ai = re.search(_AI, clause) is not None
        names_making = making.search(re.sub(_AI, " ", clause)) is not None
        bare = _NOT_A_NEGATION.sub("", clause)
        if names_ai or names_making:
            if _QUESTION.search(clause) or _HEDGE.search(clause):
                return "it leaves open whether AI made the video"
            if previous_denies or _NEGATION.search(bare):
                return "it denies, or seems to deny, that AI made the video"
        elif has_both and _is_only_denial(bare):
            return "it denies, or seems to deny, that AI made the video"
        has_ai |= names_ai
        has_both |= names_ai and names_making
        previous_denies = _ends_in_denial(bare)
    if not has_ai:
        return "it does not name AI (人工智能 or AI)"
    if not has_both:
        words = "生成 or 合成" + (" or generated" if language == "en" else "")
        return f"it does not say {words} together with AI"
    return None


def _ends_in_denial(clause: str) -> bool:
    """Whether a clause denies what follows it, as 本视频并非 does."""
    return re.search(f"(?:{_NEGATION.pattern})[是由的 ]*$", clause, re.ASCII) is not None


def _is_only_denial(clause: str) -> bool:
    """Whether a clause is nothing but a denial, such as 否, "no", 不是 or 并非."""
    rest = _FILLERS.sub("", _NEGATION.sub("", clause)).strip()
    return not rest and _NEGATION.search(clause) is not None
