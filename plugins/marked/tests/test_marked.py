"""UBX, NMEA 0183 and FIX: the kit, what is damaged, noise between messages, where they begin, writing."""

from __future__ import annotations

from typing import Any

import pytest

from framestream import EncodeError, FrameTooLarge, FramingError, PayloadError, Window, get_framer, iter_frames
from framestream.framers import FirstOf
from framestream.testing import check_framer, chunkings, transcript
from framestream.testing.cost import CountedBytes
from framestream.testing.streams import find_start
from framestream_marked import Fix, FixMessage, Nmea, Sentence, Ubx, UbxMessage

GLL = b"$GPGLL,5057.97,N,00146.11,E,142451,A*27\r\n"
AIS = b"!AIVDM,1,1,,B,177,0*14\r\n"
POLL = Ubx().encode(UbxMessage(10, 4))
LONG = Ubx().encode(UbxMessage(1, 7, bytes(range(92))))
BEAT = Fix().encode(FixMessage("FIX.4.4", ((35, b"0"), (112, b"ab"))))
RAW = Fix().encode(FixMessage("FIXT.1.1", ((35, b"A"), (95, b"5"), (96, b"\1\0=\0012"), (98, b"0"))))

MATERIAL: dict[str, dict[str, Any]] = {
    "ubx": {
        "malformed": {
            GLL: "message begins with b'$', not with b'\\xb5b'",
            POLL[:-1] + b"\0" + LONG: "checksum does not match",
        },
        "incomplete": [POLL[:1], POLL[:5], LONG[:-1]],
    },
    "nmea": {
        "malformed": {
            b"GPGLL,1\r\n": "message begins with b'G', not with b'$' or b'!'",
            b"\rx": "message begins with b'\\r'",
            GLL.replace(b"*27", b"*28") + AIS: "checksum is 28, not 27",
            GLL.replace(b"*27", b"") + AIS: "no checksum",
            b"$\n" + AIS: "is not a sentence",
            b"$\xff\n": "codec can't decode byte",
        },
        "incomplete": [GLL[:1], GLL[:-1]],
        "slow_frame": lambda size: b"$" + b"\r" * size + b"\n",
    },
    "fix": {
        "malformed": {
            b"8=FIX.4.4\x0135=0\x01": "message without version and length (at offset 10)",
            b"8=FIX.4.4\x019=x\x01": "message without version and length (at offset 12)",
            BEAT.replace(b"10=102", b"10=103") + BEAT: "checksum is 103, not 102",
            BEAT.replace(b"9=12", b"9=11") + BEAT: "where the checksum belongs: the length is wrong",
        },
        "incomplete": [BEAT[:2], BEAT[:10], BEAT[:12], BEAT[:-1]],
    },
}


@pytest.mark.parametrize("spec", ["ubx", "nmea", "nmea:checksum=no", "fix"])
def test_conformance(spec: str) -> None:
    framer: Any = get_framer(spec)
    slow = {"slow_frame": framer.slow_frame} if hasattr(framer, "slow_frame") else {}
    material = MATERIAL[framer.name] if spec == framer.name else {}
    report = check_framer(framer, examples=framer.examples, **slow, **material)
    assert {"find-start", "start-cost"} <= set(report.kept)


@pytest.mark.parametrize("spec", ["ubx:skip", "nmea:skip", "fix:skip"])
def test_conformance_where_noise_is_passed_over(spec: str) -> None:
    framer: Any = get_framer(spec)
    noise = b"\0noise \xb5 8=FI 8=FIX\xb5" if spec != "nmea:skip" else b"\0noise\n"
    wires = [(noise + noise.join([wire, wire]) + noise, frames * 2) for wire, frames in framer.examples.items()]
    report = check_framer(framer, examples=wires)
    assert "find-start" in report.kept


@pytest.mark.parametrize(
    ("framer", "mark"), [(Ubx(skip=True), b"\xb5\x62"), (Nmea(skip=True), b"!"), (Nmea(skip=True), b"$")]
)
def test_a_piece_of_noise_costs_nothing_for_what_has_arrived_after_it(framer: Any, mark: bytes) -> None:
    data = CountedBytes(b"noise" + mark + bytes(10_000))
    assert framer.find(Window(data))[2] == 5
    assert data.examined < 100


@pytest.mark.parametrize(
    ("name", "wire", "shown"),
    [("ubx", POLL[:1] + b"xyz", r"b'\xb5x'"), ("fix", b"8=FOX.4", "b'8=FO'"), ("nmea", b"GP", "b'G'")],
)
def test_what_is_told_of_another_beginning_is_the_same_for_every_chunking(name: str, wire: bytes, shown: str) -> None:
    told = set()
    for chunks in chunkings(wire):
        with pytest.raises(FramingError) as caught:
            list(iter_frames(chunks, name))
        told.add(str(caught.value))
    [reason] = told
    assert f"begins with {shown}, not with" in reason


@pytest.mark.parametrize("framer", [Ubx(skip=True), Fix(skip=True), Nmea(skip=True)], ids=str)
def test_noise_costs_no_message(framer: Any) -> None:
    good = {"ubx": LONG, "fix": RAW, "nmea": AIS}[framer.name]
    noise = [b"", b"\xff" * 50, b"8=FI\xb5", b"\r\n", b"8=FIX.4.4\x01x", b"\0"]
    wire = b"".join(each + good for each in noise) + b"\xb5"
    [expected] = iter_frames(good, framer)
    for size in (1, 3, len(wire)):
        chunks = [wire[at : at + size] for at in range(0, len(wire), size)]
        assert list(iter_frames(chunks, framer)) == [expected] * len(noise)


@pytest.mark.parametrize("order", [(Ubx(), Nmea()), (Nmea(), Ubx())], ids=str)
def test_a_receiver_may_send_both_on_one_line(order: Any) -> None:
    frames = list(iter_frames(GLL + POLL + LONG + AIS + POLL, FirstOf(*order)))
    assert [type(frame) for frame in frames] == [Sentence, UbxMessage, UbxMessage, Sentence, UbxMessage]


@pytest.mark.parametrize(("framer", "pieces"), [
    (Ubx(), [POLL, LONG, POLL, Ubx().encode(UbxMessage(1, 1, b"\xb5\x62\1\2\3\0")), LONG]),
    (Nmea(), [GLL, AIS, b"\r\n" + GLL, b"$,\n", b"\n\n\n" + AIS]),
    (Fix(), [BEAT, RAW, BEAT, Fix().encode(FixMessage("FIX.4.2", ((58, b"8=FIX.4.2"),))), BEAT]),
], ids=lambda value: value.name if hasattr(value, "name") else "")  # fmt: skip
def test_in_a_sound_log_the_next_message_is_found_from_every_place(framer: Any, pieces: list[bytes]) -> None:
    wire = b"".join(pieces)
    blank = [len(piece) - len(piece.lstrip(b"\r\n")) for piece in pieces]
    ends = [sum(map(len, pieces[:count])) for count in range(len(pieces) + 1)]
    starts = [end + skipped for end, skipped in zip(ends, [*blank, 0], strict=True)]
    for place in range(1, len(wire) + 1):
        expected = min(start for start in starts if start >= place)
        for step in (None, 3):
            found = find_start(framer, wire, place, step=step)
            assert found + len(wire[found:]) - len(wire[found:].lstrip(b"\r\n")) == expected


def test_a_long_message_is_known_by_the_next_one() -> None:
    wire = POLL + (long := Ubx().encode(UbxMessage(2, 0x15, bytes(60000)))) + POLL
    assert find_start(Ubx(), wire, 1) == len(POLL)
    assert find_start(Ubx(), wire[:-100], 1) == len(wire) - 100
    assert len(long) == 60008


def test_noise_that_looked_like_a_message_is_not_too_large() -> None:
    whole, *chunked = (transcript(Fix(skip=True), chunks, max_size=0) for chunks in chunkings(b"8=FIX\0"))
    assert [whole] * len(chunked) == chunked


@pytest.mark.parametrize(
    ("spec", "wire"), [("ubx:max=50", LONG), ("fix:max=50", Fix().encode(FixMessage("FIX.4.4", ((58, bytes(60)),))))]
)
def test_a_message_above_the_limit_is_refused_by_its_length(spec: str, wire: bytes) -> None:
    with pytest.raises(FrameTooLarge) as caught:
        list(iter_frames(wire[:30], get_framer(spec)))
    assert caught.value.size is not None


def test_data_of_fix_may_hold_separators() -> None:
    [message] = iter_frames(RAW, Fix())
    assert (message.get(96), message.get(98), message.get(1)) == (b"\1\0=\0012", b"0", b"")


@pytest.mark.parametrize(("body", "complaint"), [
    (b"35\1", "b'35\\x01' is not a field"),
    (b"035=0\1", "is not a field"),
    (b"35=0", "field 35 has no end"),
    (b"95=9\x0196=short\1", "field 96 has no end"),
])  # fmt: skip
def test_fields_that_are_none_cost_their_message(body: bytes, complaint: str) -> None:
    head = b"8=FIX.4.4\x019=%d\1%b" % (len(body), body)
    bad: list[PayloadError] = []
    wire = b"%b10=%03d\1" % (head, sum(head) % 256) + BEAT
    assert len(list(iter_frames(wire, Fix(), on_payload_error=bad.append))) == 1
    assert complaint in str(bad[0])


@pytest.mark.parametrize(("framer", "frame", "complaint"), [
    (Ubx(), UbxMessage(256, 0), "no UBX message"),
    (Ubx(), UbxMessage(1, 1, bytes(65536)), "no UBX message"),
    (Ubx(), UbxMessage(1, 1, "text"), "must be bytes"),  # type: ignore[arg-type]  # that is the point
    (Ubx(max_size=9), UbxMessage(1, 1, bytes(4)), "exceeds the limit 9"),
    (Nmea(), Sentence("GPGLL", ("a,b",)), "read back differently"),
    (Nmea(), Sentence("GPGLL", ("a*b",)), "is not a sentence"),
    (Nmea(), Sentence("GPGLL", ("\u00fc",)), "codec can't encode"),
    (Nmea(max_size=9), Sentence("GPGLL", ()), "sentence of 11 bytes exceeds the limit 9"),
    (Fix(), FixMessage("FIX.4.4", ((58, b"a\x01b"),)), "is not a field"),
    (Fix(), FixMessage("FIX.4.4", ((58, b"a\x0199=b"),)), "read back differently"),
    (Fix(), FixMessage("other", ()), "message was truncated"),
    (Fix(max_size=9), FixMessage("FIX.4.4", ()), "exceeds the limit 9"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(framer: Any, frame: Any, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        framer.encode(frame)
