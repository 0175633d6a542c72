"""The atomic steps of a request, each through the real Exchange and the real store, in the order in which asgi.py takes them.

claim (which starts the touch) | effect | save or release (which ends the touch) | the answer reaches the client;
without a claim: start | effect | the answer reaches the client | end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from states import application, promises
from states.memory import Told
from states.requests import Run
from states.scene import Scene, Step, checked
from states.world import ADRIFT, DONE, KEPT, LOOKED, NEW, RAN, SENT, STARTED, WAITING, WON, Answer, Process, World
from verbguard.http import Response, header
from verbguard.records import Busy, Done, Outcome, Won
from verbguard.stores import Store


def moments(scene: Scene, world: World, index: int, process: Process) -> Iterator[Step]:
    """What a request may do next."""
    step = process.step
    if step == NEW and scene.may_begin(world, index) or step == LOOKED:
        yield _begins(scene, world, index, process)
    elif step == WAITING:
        yield _begins(scene, world, index, process)
        yield starts(scene, world, index, process, "is tired of waiting and starts")
    elif step in (WON, STARTED, ADRIFT):
        yield _runs(scene, world, index, process)
    elif step == RAN:
        yield (_keeps if process.token else _sends)(scene, world, index, process)
    elif step == KEPT:
        after = world.at(index, process._replace(step=DONE, token=0))
        said = scene.says(index, f"the answer reaches the client{f', {process.answer}' if process.answer else ''}")
        yield checked(said, after, promises.answered, scene.asks, after, index)
    elif step == SENT:
        yield _ends(scene, world, index, process)


def _begins(scene: Scene, world: World, index: int, process: Process) -> Step:
    ask = scene.asks[index]
    run = scene.front.open(ask)
    if not run.mode:
        return starts(scene, world, index, process, "starts")

    def claims(store: Store) -> Outcome | None:
        run.store = store
        return run.ask(run.body)

    if process.step == LOOKED:
        claim = scene.front.claim(ask)
        return _judged(scene, world, index, run, scene.tell(world, ("take", ask), lambda store: store.take(claim)))
    told = scene.tell(world, ("claim", ask), claims)
    if scene.looks_first and isinstance(told.answer, Won):
        return Step(scene.says(index, "looks, and finds no record"), world.at(index, process._replace(step=LOOKED)))
    return _judged(scene, world, index, run, told)


def _judged(scene: Scene, world: World, index: int, run: Run, told: Told) -> Step:
    """What the store's word means for the request."""
    asks, process, outcome = scene.asks, world.processes[index], told.answer
    if isinstance(outcome, Won):
        run.claimed(outcome)
        place, winners = scene.place(index), world.winners
        after = world.at(index, process._replace(step=WON, token=run.token, leased=True), told)
        after = after._replace(winners=(*winners[:place], index, *winners[place + 1 :]))
        return checked(scene.says(index, "claims, and wins"), after, promises.won, asks, after, index)
    if type(outcome) is Busy and run.patience:
        return Step(scene.says(index, "claims, and waits"), world.at(index, process._replace(step=WAITING), told))
    response = run.claimed(outcome)
    assert response is not None, f"{outcome} is no answer to {asks[index]}"
    answer = _read(response)
    after = world.at(index, process._replace(step=DONE, answer=answer), told)
    if type(outcome) is Done and answer.replayed:
        said = scene.says(index, f"claims, and gets {answer}")
        winner = world.winners[scene.place(index)]
        if promises.unknowing(world) and promises.untold(asks, after, index):
            after = after.at(index, after.processes[index].hurt("untold"))
        found = checked(said, after, promises.replayed, asks, after, index, winner)
        return found if found.broken else checked(said, after, promises.answered, asks, after, index)
    rule = json.loads(response.body)["rule"]
    said = scene.says(index, f"claims, and gets {answer} {rule}")
    return checked(said, after, promises.refused, asks, after, index, rule)


def _read(response: Response) -> Answer:
    run = header(response.headers, b"x-run")
    replayed = header(response.headers, b"idempotent-replayed") is not None
    return Answer(response.status, None if run is None else int(run), replayed)


def starts(scene: Scene, world: World, index: int, process: Process, said: str) -> Step:
    """A run without a claim begins."""
    ask = scene.asks[index]

    def start(store: Store) -> int:
        run = scene.front.led(ask, 0)
        run.store = store
        run.begin_touch()
        return 0 if run.touch is None else run.touch.run

    told = scene.tell(world, ("start", ask), start)
    return Step(scene.says(index, said), world.at(index, process._replace(step=STARTED, run=told.answer), told))


def _runs(scene: Scene, world: World, index: int, process: Process) -> Step:
    ask = scene.asks[index]
    item, status = application.run(ask, world.item)
    adrift = process.step == ADRIFT
    after = world.at(
        index,
        process._replace(step=DONE if adrift else RAN, status=status, effective=status < 400 or ask.raises and status == 500),
        item=item,
    )
    said = f"{'is still at work, and ' if adrift else ''}runs: {status}, the state is {item}"
    return checked(scene.says(index, said), after, promises.ran, scene.asks, after, index)


def _keeps(scene: Scene, world: World, index: int, process: Process) -> Step:
    """The answer is complete, or the application raised: the store hears of it before the client does."""

    def keeps(store: Store) -> str:
        raised = scene.asks[index].raises and process.status == 500
        run = scene.led(index, process) if raised else scene.answered(index, process)
        run.store = store
        if raised:
            run.abandon(RuntimeError())
        else:
            run.commit()
        return f"{'saves its answer' if run.saved else 'is over'}{', too late' if 'idem-lease-lost' in run.said else ''}"

    told = scene.tell(world, ("keep", index, process.token, process.status), keeps)
    token = process.token if told.answer == "saves its answer" and not scene.asks[index].raises else 0
    done = process._replace(step=KEPT, token=token, leased=False, answer=Answer(process.status, index))
    return Step(scene.says(index, told.answer), world.at(index, done, told))


def _sends(scene: Scene, world: World, index: int, process: Process) -> Step:
    answer = Answer(process.status, index)
    after = world.at(index, process._replace(step=SENT, answer=answer))
    said = scene.says(index, f"the answer reaches the client, {answer}")
    return checked(said, after, promises.answered, scene.asks, after, index)


def _ends(scene: Scene, world: World, index: int, process: Process) -> Step:
    def end(store: Store) -> None:
        run = scene.answered(index, process)
        run.store = store
        run.end_touch()

    told = scene.tell(world, ("end", index, process.run, process.status), end)
    return Step(scene.says(index, "ends"), world.at(index, process._replace(step=DONE, run=0), told))
