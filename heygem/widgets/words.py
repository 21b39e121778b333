"""What the studio says, in English and Chinese."""

from heygem.errors import ParameterError

LANGUAGES = ("en", "zh")

_WORDS = {
    "audio": ("Sound", "音频"),
    "video": ("Video", "视频"),
    "open": ("Open", "打开"),
    "folder": ("Folder", "文件夹"),
    "files": ("Files", "文件"),
    "upload": ("Upload a short sound", "上传短音频"),
    "too_large": (
        "Files above {limit} MB do not fit through the page; copy it to the server instead.",
        "超过 {limit} MB 的文件无法经页面上传，请直接复制到服务器。",
    ),
    "text": ("Text to speak", "要说的文字"),
    "speak": ("Speak this text", "朗读这段文字"),
    "start": ("Start [s]", "起点 [秒]"),
    "length": ("Length [s]", "长度 [秒]"),
    "render": ("Preview", "预览"),
    "cancel": ("Stop", "停止"),
    "auto": ("Follow the knobs", "随旋钮更新"),
    "source": ("Source", "原视频"),
    "result": ("Result", "结果"),
    "side": ("Side by side", "并排"),
    "wipe": ("Wipe", "擦除对比"),
    "result_only": ("Result only", "只看结果"),
    "play": ("Play", "播放"),
    "pause": ("Pause", "暂停"),
    "back": ("One frame back", "后退一帧"),
    "forward": ("One frame on", "前进一帧"),
    "loop": ("Loop", "循环"),
    "position": ("Position of the wipe", "擦除位置"),
    "timeline": ("Timeline; click to jump", "时间轴；点击跳转"),
    "overview": ("The whole sound; click to choose the span", "整段音频；点击选择片段"),
    "wave": ("sound", "波形"),
    "speech": ("speech", "语音"),
    "mel": ("spectrum", "频谱"),
    "opening": ("mouth opening", "嘴部开合"),
    "before": ("model", "模型"),
    "after": ("with knobs", "调节后"),
    "no_video": ("Nothing rendered yet", "尚未渲染"),
    "load_failed": ("The page could not load {url}", "页面无法加载 {url}"),
    "took": (
        "{frames} frames in {seconds:.2f} s; {passed} passed through untouched",
        "{frames} 帧，用时 {seconds:.2f} 秒；{passed} 帧原样通过",
    ),
    "choose_first": (
        "Choose a sound and a video, then press Open.",
        "请先选择音频和视频，再点“打开”。",
    ),
    "error_what": ("What happened", "发生了什么"),
    "error_seen": ("What was seen", "看到的值"),
    "error_remedy": ("What to do", "怎么办"),
    "error_details": ("Details", "详细信息"),
    "error_unknown": (
        "Something failed that should not; the details help whoever looks into it.",
        "出现了意外错误；详细信息有助于排查。",
    ),
    "stage_track": ("tracking the face", "跟踪人脸"),
    "stage_avatar": ("tracking the face", "跟踪人脸"),
    "stage_audio": ("reading the sound", "读取音频"),
    "stage_lips": ("from sound to mouth", "由声音推算口型"),
    "stage_render": ("drawing mouths", "绘制嘴部"),
    "stage_encode": ("writing the video", "写入视频"),
    "stage_decode": ("reading frames", "读取画面"),
    "stage_speak": ("speaking the text", "合成语音"),
    "left": ("{seconds:.0f} s left", "剩余 {seconds:.0f} 秒"),
    "knobs": ("Knobs", "旋钮"),
    "reset": ("Reset all", "全部复位"),
    "snapshot": ("Keep as {slot}", "存为 {slot}"),
    "recall": ("Show {slot}", "查看 {slot}"),
    "notes": ("Notes", "备注"),
    "empty": ("empty", "空"),
    "recipe": ("Recipe name", "配方名称"),
    "save": ("Save as params/NAME.yaml", "保存为 params/NAME.yaml"),
    "load": ("Load", "载入"),
    "saved": ("Saved {path}", "已保存 {path}"),
    "loaded": ("Loaded {path}", "已载入 {path}"),
    "replace": ("Replace the file if it is there", "同名文件则覆盖"),
    "log": ("Log to MLflow", "记录到 MLflow"),
    "logged": ("Logged as run {run}", "已记录为运行 {run}"),
    "report": ("What these inputs are like", "输入素材检查"),
    "group_lips": ("Mouth movement", "口型"),
    "group_renderer": ("Drawing", "绘制"),
}


def words(lang="en"):
    """A function that gives a phrase by its key in one language.

    Parameters
    ----------
    lang : str
        "en" or "zh".

    Returns
    -------
    callable
        `say(key, **values) -> str`.

    Raises
    ------
    ParameterError
        For any other language.
    """
    if lang not in LANGUAGES:
        raise ParameterError("no such language", seen=lang, remedy=f"use one of {LANGUAGES}")
    at = LANGUAGES.index(lang)

    def say(key, **values):
        return _WORDS[key][at].format(**values) if values else _WORDS[key][at]

    return say


def stage_name(say, stage):
    """The phrase for a stage of work; the stage itself where there is none."""
    key = f"stage_{stage}"
    return say(key) if key in _WORDS else stage
