"""The door: which of the three modes is wanted."""
import sys


def main(arguments):
    if arguments[:1] == ["--check-static"]:
        from . import static_check

        return static_check.main(arguments[1:])
    if arguments[:1] == ["--check"]:
        from . import check

        return check.main(arguments[1:])
    if arguments:
        sys.stderr.write("hoist_runner: takes --check, --check-static or nothing, and not %s\n" % " ".join(arguments))
        return 2
    from . import job

    return job.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
