"""What is done to a machine from outside the guest: QMP commands, resets, restarts, plugging, and its state
kept, brought back or taken along to another QEMU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rig.deadline import Deadline
from rig.machine import steps, surroundings, travel
from rig.machine.errors import MachineError, Refused
from rig.machine.execution import ANSWER
from rig.machine.files import place
from rig.machine.interrupt import Interruption
from rig.machine.launch import LOGS, launch
from rig.machine.memory import Mapped, Saved
from rig.machine.session import Session, now
from rig.program import LOAD, MOVE, RESTART, SAVE, Ending, Host, Outcome


def act(session: Session, action: Host) -> Outcome:
    """Carry out any host action; :meth:`rig.machine.machine.Machine.host` says what its outcome has."""
    deadline = Deadline(steps.PATIENCE if action.timeout is None else action.timeout)
    if action.command == RESTART:
        return _restart(session, deadline)
    if action.command in (SAVE, LOAD, MOVE):
        return _travel(session, action, deadline)
    with session.blamed():
        return _command(session, action, deadline)


def reset(session: Session) -> None:
    """Clear RAM, reset the machine and bring the agent to its stop label."""
    deadline = Deadline(steps.PATIENCE)
    live = session.live
    if not session.alive:
        raise MachineError("QEMU has ended: start another machine")
    if live.live.debugger.running and live.status() != "suspended":
        live.live.debugger.interrupt(Deadline(ANSWER))
    memory = session.memory
    assert isinstance(memory, Mapped | Saved)
    memory.clear()
    live.landed = False
    session.pictures.clear()
    live.take_events("reset")
    live.live.monitor.execute("system_reset", None, deadline)
    live.expect_event("RESET", {}, deadline)
    steps.arrive(session, deadline)
    session.left(now(), "reset")
    session.recent = ()


def _command(session: Session, action: Host, deadline: Deadline) -> Outcome:
    """A QMP command, and what has to come of it before the next step."""
    live, began = session.live, now()
    ending: Ending = "returned"
    answer: object = None
    woken: Outcome | None = None
    live.landed = False  # a command may move the program counter (inject-nmi, system_reset)
    live.copies.forget()
    nmi = Interruption(live, deadline) if action.command == "inject-nmi" else None
    try:
        answer = {"return": live.live.monitor.execute(action.command, action.arguments, deadline)}
        if action.command == "system_reset":
            live.expect_event("RESET", {}, deadline)
            ending = steps.arrive(session, deadline)
        elif action.command == "system_wakeup" and session.asleep is not None:
            ending = live.settle(deadline, session.asleep.cpu)
            woken = steps.finished(session, session.asleep, ending, began)[-1]
        elif action.command == "system_powerdown":
            live.expect_event("POWERDOWN", {}, deadline)  # QEMU's main loop sends it after the answer
        elif action.command == "device_add":
            live.live.debugger.rearm(deadline)  # it may have been a CPU
            _find_plugged(session, deadline)
        elif action.command == "quit":
            live.live.process.wait(deadline)
        elif nmi is not None and (ending := nmi.take()) == "reset":
            ending = steps.arrive(session, deadline)
    except Refused as error:
        answer = {"error": {"class": error.error_class, "desc": error.description}}
    except MachineError:
        if not live.dead():
            raise
    outcome = woken or session.left(began, ending if session.alive else "died")
    if nmi is not None:
        outcome = replace(outcome, registers=nmi.after, before=nmi.before)
    return replace(outcome, answer=answer)


def _find_plugged(session: Session, deadline: Deadline) -> None:
    """Look where memory was plugged, and see it from now on."""
    if session.mapped is None or not session.options.dimms:
        return
    live = session.live.live
    for name, region in surroundings.plugged(live.monitor, deadline):
        if name in live.ram and name not in session.plugged:
            session.mapped.attach(live.ram[name], region.start, region.length)
            session.plugged[name] = region
    ram = surroundings.together(session.environment.ram, session.plugged.values())
    session.environment = replace(session.environment, ram=ram)


def _restart(session: Session, deadline: Deadline) -> Outcome:
    began = now()
    session.close()
    steps.start(session, deadline)
    return replace(session.left(began, "reset"), answer={"return": {}})


def _travel(session: Session, action: Host, deadline: Deadline) -> Outcome:
    """Keep the state, bring it back, or go on with it in another QEMU."""
    began, live = now(), session.live
    answer: object = {"return": {}}
    with session.blamed():
        try:
            if action.command == SAVE:
                travel.save(live, session.directory, deadline)
            elif action.command == LOAD:
                travel.load(live, deadline)
                live.copies.forget()
            else:
                _move(session, action.arguments, deadline)
        except Refused as error:
            answer = {"error": {"class": error.error_class, "desc": error.description}}
        travel.drop_events(session.live)
        if session.mapped is not None:
            session.mapped.trim()
        before = {"msr": session.carried[0]["msr"]}
        after = session.live.live.debugger.registers(before, deadline)
        session.carried[0] |= after
        left = session.left(began, "returned")
        return replace(left, answer=answer, before=before, registers=after)


def _move(session: Session, arguments: Mapping[str, object], deadline: Deadline) -> None:
    """Go on in another QEMU with memory and state of this one, which ends; it goes on when that fails."""
    build = session.newer if arguments.get("to") == "newer" else session.build
    if build is None:
        raise MachineError("the machine was given no other build to move to")
    source, running, memories, sight = session.live, session.running, session.memories, session.mapped
    options = place(session.options, session.directory)
    options = replace(options, arguments=(*options.arguments, "-incoming", "defer"))
    folder = session.directory / f"moved-{source.sequence}"
    destination, words = launch(build, options, folder, session.image, deadline)
    try:
        session.adopt(destination)
        travel.move(source, session.live, str(arguments.get("route", "file")), folder, deadline)
    except BaseException:
        session.execution, session.memories, session.mapped = source, memories, sight
        destination.close(politely=False)
        raise
    session.running, session.build, session.command_line = destination, build, words
    session.environment = replace(session.environment, version=build.version)
    session.logs = {name: folder / name for name in LOGS}
    assert running is not None
    running.close()
