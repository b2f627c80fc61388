"""write_whole: a name stands for a whole file, whatever fails."""

import os
import stat

import pytest

from pellucid.core.files import write_whole


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    return path


def test_text_is_utf_8_and_bytes_are_as_they_are(tmp_path):
    for content, wanted in (("─ é\n", "─ é\n".encode()), (b"\x89PNG\r\n", b"\x89PNG\r\n")):
        write_whole(tmp_path / "new", content)
        assert (tmp_path / "new").read_bytes() == wanted
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_a_new_file_has_the_rights_that_any_new_file_has_and_an_old_one_keeps_its_own(tmp_path, file):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "new", "text")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    file.chmod(0o640)
    write_whole(file, "after")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("after", 0o640)


def test_whoever_reads_the_old_file_goes_on_reading_it(file):
    with file.open() as reader:  # as after a crash in the middle of the writing: the old content was never touched
        write_whole(file, "after" * 1000)
        assert reader.read() == "before"


def test_a_link_stays_one(tmp_path, file):
    (tmp_path / "link").symlink_to("page.html")
    write_whole(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink() and file.read_text() == "after"


def test_what_is_no_regular_file_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(tmp_path / "pipe", "text")
        assert os.read(end, 10) == b"text"
    finally:
        os.close(end)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        write_whole(tmp_path / "nowhere" / "m.svg", "text")
    assert raised.value.filename == str(tmp_path / "nowhere" / "m.svg")
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, "text")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written_is_left_alone(file):
    file.chmod(0o444)
    with pytest.raises(PermissionError, match="page.html"):
        write_whole(file, "after")
    assert file.read_text() == "before"
