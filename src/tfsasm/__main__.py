"""`python -m tfsasm` is the command `tfsasm`."""

from tfsasm.cli.main import main

if __name__ == "__main__":
    main()
