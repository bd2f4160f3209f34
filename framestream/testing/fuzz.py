"""``python -m framestream.testing.fuzz``: fuzz framers by their spec strings, for as long as you like.

Without a spec string, every built-in framer is fuzzed, under many options.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from framestream.errors import SpecError
from framestream.registry.lookup import get_framer
from framestream.testing._failure import ConformanceError
from framestream.testing._fuzzing import fuzz_framer
from framestream.testing._seeds import seeds_for

# `available` is not among them: what it reads depends on the chunks, and that is its purpose.
BUILT_IN_SPECS = (
    "exactly:3",
    "fixed-length:4",
    r'delimiter:"\0"',
    "delimiter:--END--",
    r'delimiter:"\r\n","\n"',
    r'delimiter:";","\r\n",END,keep',
    r'delimiter:"\r\n",";",last',
    r'delimiter:"\n",max=9',
    "line",
    "line:newline=crlf,last=no",
    "line:encoding=none,keep",
    "line:encoding=latin-1,newline=lf",
    "line:encoding=shift-jis,errors=replace",
    "length-prefix",
    "length-prefix:1",
    "length-prefix:2,little",
    "length-prefix:3",
    "length-prefix:8,max=64",
    "length-prefix:2,offset=2,adjust=-1,strip=0",
    "length-prefix:2,includes-header",
    "length-prefix:1,adjust=2,strip=3",
    "length-prefix:format=varint",
    "length-prefix:3,format=varint,canonical",
    'length-prefix:format=decimal,terminator=":"',
    "length-prefix:4,format=hex",
    r'length-prefix:format=hex,terminator="\r\n",canonical',
    "msgpack",
    "msgpack:raw,use-list=no,strict-map-key=no,timestamp=3",
    "msgpack:max=32",
    r'regex:"\r?\n\r?\n"',
    'regex:"[0-9]{1,3};"',
    r'regex:"([a-z]=[0-9])\n",result=match',
    'regex:"END|(a|b)[c-e]{1,2}x?y"',
    "until-close",
    r'first-of(when(length-prefix:2):"\0", line:last=no)',
    r'first-of(length-prefix:format=decimal,terminator=":", regex:"\n")',
    "first-of(msgpack)",
    "when(line:encoding=none):$,one-of=*+",
    "sequence(line:last=no, length-prefix:2)",
    "sequence(delimiter:--)",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz each framer in turn; return 0 if none failed, 1 if one did, 2 if one does not exist."""
    options = _parser().parse_args(arguments)
    share = len(options.spec)
    try:
        framers = [get_framer(spec) for spec in options.spec]
    except SpecError as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 2
    given = [Path(name).read_bytes() for name in options.seeds]
    status = 0
    for framer in framers:
        try:
            report = fuzz_framer(
                framer,
                given or seeds_for(framer),
                iterations=-(-options.iterations // share),
                seconds=None if options.seconds is None else options.seconds / share,
                seed=options.seed,
            )
        except ConformanceError as error:
            print(error, flush=True)
            status = 1
        else:
            print(report, flush=True)
    return status


_PROGRAM = "python -m framestream.testing.fuzz"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Spoil streams at random, cut them at random, and see that every reading of them agrees.",
    )
    add = parser.add_argument
    add("spec", nargs="*", default=BUILT_IN_SPECS, help="a framer; every built-in if none is given")
    add("--iterations", type=int, default=100_000, help="streams to try, all framers together")
    add("--seconds", type=float, help="how long to go on, all framers together, instead")
    add("--seed", type=int, default=0, help="another seed tries other streams")
    add("--seeds", nargs="+", default=(), metavar="FILE", help="streams to start from")
    return parser


if __name__ == "__main__":  # pragma: no cover  # all it does is in main
    sys.exit(main())
