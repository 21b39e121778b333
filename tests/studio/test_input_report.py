"""Report on the quality of the inputs."""

import pytest

from heygem.core import i18n
from heygem.studio import input_report

pytestmark = pytest.mark.usefixtures("isolated_home")


@pytest.mark.slow
def test_the_report_names_size_rate_and_face_in_both_languages(session):
    html = input_report.report_html(session, i18n.translator("en"), "en")
    assert "512×600, 25 frames/s, 40 frames" in html and "px wide" in html
    assert "每秒 25 帧" in input_report.report_html(session, i18n.translator("zh"), "zh")
    assert input_report.landmark_strip(session.avatar)[:2] == b"\xff\xd8"
