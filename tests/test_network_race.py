"""The race of RFC 8305, section 5, on futures: no clock decides anything here."""

import asyncio

import pytest

from framestream.net._race import Race, interleave

NEVER = 3600.0  # a delay that does not end within a test


class Course:
    """Attempts that end when the test says so."""

    def __init__(self, count, *, stubborn=()):
        self.stubborn = stubborn
        self.futures = {}
        self.discarded = []
        self.attempts = [lambda index=index: self._attempt(index) for index in range(count)]

    async def _attempt(self, index):
        future = self.futures[index] = asyncio.get_running_loop().create_future()
        try:
            return await future
        except asyncio.CancelledError:
            if index in self.stubborn:
                return f"late {index}"
            raise

    def race(self, delay):
        return Race(self.attempts, delay=delay, discard=self.discarded.append)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def test_interleaving_takes_one_of_each_family_in_turn():
    assert interleave([["6a", "6b", "6c"], ["4a", "4b"]]) == ["6a", "4a", "6b", "4b", "6c"]
    assert interleave([]) == []
    assert interleave([[None], [0]]) == [None, 0]


async def test_the_first_attempt_is_alone_until_its_delay_is_over():
    course = Course(2)
    race = course.race(NEVER)
    running = asyncio.ensure_future(race.run())
    await until(lambda: 0 in course.futures)
    course.futures[0].set_result("first")
    assert await running == "first"
    assert list(course.futures) == [0]


async def test_the_next_attempt_starts_at_once_when_one_fails():
    course = Course(2)
    race = course.race(NEVER)
    running = asyncio.ensure_future(race.run())
    await until(lambda: 0 in course.futures)
    refused = ConnectionRefusedError()
    course.futures[0].set_exception(refused)
    await until(lambda: 1 in course.futures)
    course.futures[1].set_result("second")
    assert await running == "second"
    assert {0: refused} == race.failures


async def test_a_silent_attempt_is_overtaken_and_cancelled():
    course = Course(3)
    running = asyncio.ensure_future(course.race(0).run())
    await until(lambda: 2 in course.futures)
    course.futures[1].set_result("second")
    assert await running == "second"
    assert course.futures[0].cancelled()
    assert course.futures[2].cancelled()


async def test_a_loser_that_succeeds_is_discarded():
    course = Course(2, stubborn={0})
    running = asyncio.ensure_future(course.race(0).run())
    await until(lambda: 1 in course.futures)
    course.futures[1].set_result("second")
    assert await running == "second"
    assert course.discarded == ["late 0"]


async def test_no_winner_is_none_with_every_failure():
    course = Course(2)
    race = course.race(0)
    running = asyncio.ensure_future(race.run())
    await until(lambda: 1 in course.futures)
    errors = [OSError("a"), OSError("b")]
    course.futures[1].set_exception(errors[1])
    course.futures[0].set_exception(errors[0])
    assert await running is None
    assert {0: errors[0], 1: errors[1]} == race.failures


async def test_those_that_are_under_way_go_on_when_one_fails():
    course = Course(2)
    running = asyncio.ensure_future(course.race(0).run())
    await until(lambda: 1 in course.futures)
    course.futures[0].set_exception(ConnectionRefusedError())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    course.futures[1].set_result("second")
    assert "second" == await running


async def test_nothing_to_try_is_no_winner():
    assert await Course(0).race(0).run() is None


async def test_cancelling_cancels_every_attempt_and_keeps_nothing():
    course = Course(2, stubborn={1})
    running = asyncio.ensure_future(course.race(0).run())
    await until(lambda: 1 in course.futures)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert course.futures[0].cancelled()
    assert course.discarded == ["late 1"]
