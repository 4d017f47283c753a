"""Messages to the user."""

from tfsasm.errors import first_few


def test_a_message_names_the_first_few():
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(list("abcde")) == "a, b, c and 2 more"
    assert first_few(list("abc"), 2, "; ") == "a; b and 1 more"
    assert first_few(list("abc"), count=9) == "a, b, c and 6 more"
