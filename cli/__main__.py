"""`python -m cli` is `marquee`."""

from cli.main import main

if __name__ == "__main__":
    main()
