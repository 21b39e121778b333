"""What the studio says, in English and Chinese."""

import os

from heygem.core.errors import ParameterError

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
    "record": ("Record", "录音"),
    "record_stop": ("Stop and use it", "停止并使用"),
    "record_insecure": (
        "A browser gives the microphone only to pages over HTTPS, or on this machine (127.0.0.1).",
        "浏览器只向 HTTPS 页面或本机（127.0.0.1）页面开放麦克风。",
    ),
    "record_refused": ("The browser gave no microphone", "浏览器没有开放麦克风"),
    "record_sending": ("sending", "发送中"),
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
    "stage_speak": ("making the sound", "准备音频"),
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
    "footage": (
        "Footage of one person (several with Ctrl or Shift); the first is the one that is shown",
        "同一个人的素材（Ctrl 或 Shift 多选）；第一个用于展示",
    ),
    "footage_sum": ("{count} videos, {seconds:.0f} s", "{count} 个视频，{seconds:.0f} 秒"),
    "person_name": ("Name of the person", "人物名称"),
    "teach": ("Teach", "开始学习"),
    "teach_on": ("Go on", "继续"),
    "consent_why": (
        "Whose likeness is it? Nobody is taught without an answer.",
        "这是谁的肖像？必须回答才能开始。",
    ),
    "basis": ("The person is", "这个人是"),
    "basis_own": ("myself", "我自己"),
    "basis_synthetic": ("synthetic: no real person", "虚拟形象，非真人"),
    "basis_recorded": ("somebody else, who has agreed", "他人，已取得同意"),
    "consent_who": ("Who agreed", "同意人"),
    "consent_who_help": ("a code is better than a name", "最好用代号而非姓名"),
    "consent_purpose": ("To what", "用途"),
    "consent_purpose_help": ("such as: training films of our company", "例如：公司内部培训视频"),
    "until": ("Until", "截止日期"),
    "consent_reference": ("Where the paper lies", "同意书存放处"),
    "consent_reference_help": ("a file number; never a scan", "档案编号；不要上传扫描件"),
    "taught": (
        "Written to {folder}. It can be chosen wherever a video can.",
        "已写入 {folder}，可在任何选择视频的地方选用。",
    ),
    "kept_base": (
        "The base model was as good with this person, so it stays; the pictures are used.",
        "对此人而言基础模型同样好，因此保留基础模型；素材中的画面会被使用。",
    ),
    "measure": ("on held-out seconds", "在保留的片段上"),
    "measure_correlation": ("correlation of the lip gap", "唇距相关系数"),
    "measure_aligned": ("the same at the best lag", "最佳时延下的相关系数"),
    "measure_lag_ms": ("real mouth later by [ms]", "真实口型滞后 [毫秒]"),
    "measure_ratio": ("spread over the real one", "幅度与真实之比"),
    "filmed": ("As filmed", "原始画面"),
    "untaught": ("Base model", "基础模型"),
    "own_model": ("Own model", "专属模型"),
    "real": ("real mouth", "真实口型"),
    "coverage": ("Mouths and poses seen", "已覆盖的口型与姿态"),
    "nothing_missing": ("Nothing is missing.", "没有缺失。"),
    "learning": ("How it goes", "学习过程"),
    "compare_sound": ("Sound to compare with", "用于对比的音频"),
    "see_both": ("Show both", "对比效果"),
    "stage_sync": ("checking sound against picture", "检查音画同步"),
    "stage_hear": ("listening", "分析语音"),
    "stage_learn": ("learning", "学习"),
    "stage_load models": ("loading the models", "加载模型"),
    "stage_listen": ("listening", "分析语音"),
    "report": ("What these inputs are like", "输入素材检查"),
    "tab_batch": ("Batch", "批量"),
    "tab_single": ("Single", "单个"),
    "tab_history": ("History", "历史"),
    "tab_system": ("System", "系统"),
    "videos": (
        "Videos of one folder (several with Ctrl or Shift)",
        "同一文件夹的视频（Ctrl 或 Shift 多选）",
    ),
    "many": ("One sound, many videos", "一段音频配多个视频"),
    "pairs": ("Table of pairs", "配对表"),
    "add": ("Add to the line", "加入队列"),
    "add_pair": ("Add this pair", "加入这一对"),
    "add_rows": ("Add all rows", "加入全部行"),
    "table_file": ("Table from a CSV file", "从 CSV 文件读取"),
    "table_help": (
        "Choose one pair above, or paste rows from a spreadsheet: video, audio. More columns: "
        "text (spoken instead of a sound), name, and any knob, such as lips.openness_gain.",
        "可在上方选择一对，或从电子表格粘贴多行：video, audio。还可加列：text（朗读文字代替音频）、"
        "name，以及任意旋钮，例如 lips.openness_gain。",
    ),
    "drag": ("Drag, or use the arrow keys", "拖动，或用方向键"),
    "moved": ("Now at place {at}", "现在位于第 {at} 位"),
    "stopping": ("stopping", "正在停止"),
    "make_whole": ("Make the whole video", "生成完整视频"),
    "in_line": ("In the line; see the tab Batch.", "已加入队列，见“批量”。"),
    "start_line": ("Start", "开始"),
    "cancel_all": ("Stop all", "全部停止"),
    "retry_failed": ("Retry failed", "重试失败项"),
    "clear_done": ("Clear finished", "清除已完成"),
    "up": ("Earlier", "上移"),
    "down": ("Later", "下移"),
    "retry": ("Try again", "重试"),
    "remove": ("Take out", "移除"),
    "state_waiting": ("waiting", "等待"),
    "state_running": ("running", "进行中"),
    "state_done": ("done", "完成"),
    "state_failed": ("failed", "失败"),
    "state_cancelled": ("stopped", "已停止"),
    "line_empty": ("Nothing in the line yet.", "队列为空。"),
    "line_sum": (
        "{done} of {total} finished, {failed} failed · {left}",
        "共 {total} 个，完成 {done} 个，失败 {failed} 个 · {left}",
    ),
    "line_left": ("about {minutes:.0f} min left", "约剩 {minutes:.0f} 分钟"),
    "line_idle": ("not working", "未运行"),
    "line_soon": ("working", "运行中"),
    "refresh": ("Look again", "刷新"),
    "show": ("Play", "播放"),
    "delete": ("Delete", "删除"),
    "really": ("Really delete?", "确定删除？"),
    "zip": ("Make a ZIP of all", "打包全部为 ZIP"),
    "zip_ready": (
        "Download all ({count} videos, {mb:.1f} MB)",
        "下载全部（{count} 个视频，{mb:.1f} MB）",
    ),
    "history_empty": ("No finished videos in {folder} yet.", "{folder} 中还没有完成的视频。"),
    "device": ("Computes on", "计算设备"),
    "gpu_memory": ("GPU memory", "显存"),
    "process": ("Process", "进程"),
    "process_none": ("none; the next job loads the models", "无；下一个任务会加载模型"),
    "process_busy": ("making videos, {gb:.1f} GB of memory", "正在生成，占用 {gb:.1f} GB 内存"),
    "process_idle": (
        "stands by with its models, {gb:.1f} GB of memory",
        "待命中，模型在内存里，占用 {gb:.1f} GB",
    ),
    "dismiss": ("Free that memory", "释放内存"),
    "dismiss_help": (
        "The models leave memory now rather than in some minutes",
        "立即释放模型，而不是几分钟后",
    ),
    "counts": (
        "{waiting} waiting, {running} running, {done} done, {failed} failed",
        "等待 {waiting}，进行中 {running}，完成 {done}，失败 {failed}",
    ),
    "alert_failed": (
        "Some jobs have failed; the tab Batch says why.",
        "有任务失败，原因见“批量”。",
    ),
    "trace": ("Trace", "溯源"),
    "made_with": ("What it was made with", "生成参数"),
    "memory": ("Memory", "内存"),
    "disk": ("Disk", "磁盘"),
    "queue": ("Line", "队列"),
    "alert_disk": (
        "Little disk space is left; make room before a batch.",
        "磁盘空间不足，请先清理。",
    ),
    "alert_memory": (
        "Little memory is left; close other programs.",
        "可用内存不足，请关闭其他程序。",
    ),
    "of": ("{free:.1f} of {total:.1f} GB free", "可用 {free:.1f} / {total:.1f} GB"),
    "compare": ("Compare", "对比"),
    "compare_least": ("Tick two runs or more.", "请勾选两个或更多运行。"),
    "compare_log": ("Log comparison to MLflow", "将对比记录到 MLflow"),
    "compare_film": ("Make one video of them", "合成对比视频"),
    "compare_same": ("All settings are the same.", "所有参数相同。"),
    "compare_settings": ("settings that differ", "不同的参数"),
    "compare_measures": ("measures", "指标"),
    "compare_written": ("Written to {folder}", "已写入 {folder}"),
    "compare_sheet": ("The same instants, where the mouths differ most", "嘴部差异最大的同一时刻"),
    "compare_plots": ("Curves and measures", "曲线与指标"),
    "compare_tables": ("What differs", "差异"),
    "compare_no_video": ("{names}: no video was kept", "{names}：没有保存视频"),
    "filter": ("Filter: name, date, status ...", "筛选：名称、日期、状态……"),
    "choose": ("choose", "选择"),
    "count": (
        "{shown} of {total} runs, {chosen} chosen",
        "{total} 个运行中的 {shown} 个，已选 {chosen} 个",
    ),
    "column_started": ("started", "开始时间"),
    "column_name": ("name", "名称"),
    "column_kind": ("kind", "类型"),
    "column_status": ("status", "状态"),
    "column_seconds": ("seconds", "用时（秒）"),
    "column_experiment": ("experiment", "实验"),
    "column_video": ("video", "视频"),
    "rate": ("Speed", "速度"),
    "zoom": ("Mouths only", "只看嘴部"),
    "hear": ("Hear", "收听"),
    "stage_pictures": ("taking pictures", "截取画面"),
    "stage_film": ("writing the comparison", "写入对比视频"),
    "group_lips": ("Mouth movement", "口型"),
    "group_renderer": ("Drawing", "绘制"),
}


def language(wish=""):
    """The page's language: the one asked for, else `HEYGEM_LANG`, else English.

    Raises
    ------
    ParameterError
        There are no words in it.
    """
    lang = wish or os.environ.get("HEYGEM_LANG") or LANGUAGES[0]
    if lang not in LANGUAGES:
        raise ParameterError("no such language", seen=lang, remedy=f"use one of {LANGUAGES}")
    return lang


def words(lang=""):
    """A function that gives a phrase by its key in one language.

    Parameters
    ----------
    lang : str
        "en", "zh", or empty for what `language` says.

    Returns
    -------
    callable
        `say(key, **values) -> str`.

    Raises
    ------
    ParameterError
        For any other language.
    """
    at = LANGUAGES.index(language(lang))

    def say(key, **values):
        return _WORDS[key][at].format(**values) if values else _WORDS[key][at]

    return say


def stage_name(say, stage):
    """The phrase for a stage of work; the stage itself where there is none."""
    key = f"stage_{stage}"
    return say(key) if key in _WORDS else stage
