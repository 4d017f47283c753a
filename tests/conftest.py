"""Makes the helpers in this folder (`fakes`, `golden_data`) importable from its subfolders."""
