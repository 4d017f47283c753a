"""Addresses of streams: what is secret in them is told nowhere."""

from __future__ import annotations

import pytest

from tfsasm.cli import main
from tfsasm.video.addresses import public_address, public_text

SECRET = "Sw0rdfish"


@pytest.mark.parametrize(("address", "told"), [
    ("rtsp://me:Sw0rdfish@10.0.0.7:554/live", "rtsp://10.0.0.7:554/live"),
    ("rtsp://me:Sw0@rd/fish@camera/live", "rtsp://camera/live"),
    ("rtsp://me:Sw0?rd#fish@camera/live", "rtsp://camera/live"),
    ("rtsp://me:Sw0rdfish@[::1]:554/live", "rtsp://[::1]:554/live"),
    ("rtsp:/me:Sw0rdfish@camera/live", "rtsp:/camera/live"),
    ("rtsp:me:Sw0rdfish@camera/live", "rtsp:camera/live"),
    ("rtsp:/me:Sw0rd fish@camera/live", "rtsp:/camera/live"),
    ("http:a.mp4", "http:a.mp4"),
    ("http://camera/v?token=Sw0rdfish&size=3", "http://camera/v?token=***&size=3"),
    ("http://camera/v?usr=1&API_KEY=Sw0rdfish", "http://camera/v?usr=1&API_KEY=***"),
    ("http://camera/v?jwt=Sw0rdfish;pin=1234", "http://camera/v?jwt=***;pin=***"),
    ("http://camera/v?p%61ss=Sw0rdfish", "http://camera/v?p%61ss=***"),
    ("http://camera/v?Sw0rdfish", "http://camera/v?***"),
    ("http://camera/v#token=Sw0rdfish", "http://camera/v#token=***"),
    ("http://camera/v?url=rtsp://me:Sw0rdfish@b/", "http://camera/v?url=***://***/"),
    ("rtsp://camera/user=me&password=Sw0rdfish&channel=1",
     "rtsp://camera/user=***&password=***&channel=1"),
    ("srt://camera:9?streamid=me:Sw0rdfish&passphrase=Sw0rdfish",
     "srt://camera:9?streamid=***&passphrase=***"),
    ("s3://KEY:Sw0rdfish@bucket/folder", "s3://bucket/folder"),
    ("http://camera/v?token=Sw0rdfish#1234", "http://camera/v?token=***#1234"),
    ("http://camera:80/a/v.mp4#17", "http://camera:80/a/v.mp4#17"),
    ("folder/a@b.mp4", "folder/a@b.mp4"), ("folder/a=b.mp4", "folder/a=b.mp4"),
    ("file:///folder/a=b@c.mp4", "file:///folder/a=b@c.mp4"), ("C:/a=b@c.mp4", "C:/a=b@c.mp4"),
])  # fmt: skip
def test_an_address_is_told_without_its_secrets(address, told):
    assert public_address(address) == told
    assert public_address(told) == told


@pytest.mark.parametrize(("text", "told"), [
    ("no page rtsp:/me:Sw0rdfish@cam/v?key=Sw0rdfish.html; make one",
     "no page rtsp:/cam/v?key=***; make one"),
    ("'http://me:Sw0rdfish@cam/v?key=Sw0rdfish': gone.", "'http://cam/v?key=***': gone."),
    ("rtsp://me:Sw0rdfish@cam/v?key=Sw0rdfish: at 10:/30", "rtsp://cam/v?key=***: at 10:/30"),
    ("error: http:me:Sw0rdfish@cam/v does not exist", "error: http:cam/v does not exist"),
    ("plain words", "plain words"), ("http: at 10:30", "http: at 10:30"),
])
def test_a_message_tells_no_secret_of_an_address_in_it(text, told):
    assert public_text(text) == told
    assert public_text(told) == told


ADDRESS = f"rtsp://me:{SECRET}@127.0.0.1:9/live?token={SECRET}"


@pytest.mark.parametrize("words", [
    pytest.param([ADDRESS], id="no command"),
    pytest.param(["track", ADDRESS, "--frobnicate"], id="an option that there is not"),
    pytest.param(["demo", ADDRESS], id="a word too many"),
    pytest.param(["track", ADDRESS, "--start", ADDRESS], id="no number"),
    pytest.param(["track", ADDRESS, "--dry-run"], id="a dry run"),
    pytest.param(["view", ADDRESS], id="no page"),
    pytest.param(["convert", ADDRESS, "x.pth"], id="no checkpoint"),
    pytest.param(["score", ADDRESS, ADDRESS], id="no results"),
    pytest.param(["train", "--data", ADDRESS, "--output", "x"], id="no data"),
    pytest.param(["detections", "convert", ADDRESS, "x.json"], id="no detections"),
    pytest.param(["serve", "--host", ADDRESS], id="no host"),
    pytest.param(["track", ADDRESS, "--output", f"zz://me:{SECRET}@b/c?{SECRET}"], id="no output"),
])
def test_no_error_of_a_command_tells_the_secrets_of_an_address(
    tmp_path, monkeypatch, capsys, words
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    shown = "".join(capsys.readouterr())
    assert ended.value.code == 2
    assert shown.strip()
    assert SECRET not in shown
