"""Teaching at the attached monitor, without network or page: its keys, and the text on the screen."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Set
from typing import Any

from picam_infer.core import PicamError, isolated
from picam_infer.runtime.teaching import Teaching
from picam_infer.runtime.teaching.live_label import Seen

log = logging.getLogger(__name__)

HELP = "hold 1–9: record · letters, Enter: name it · Enter: use it · Backspace: undo · Esc: leave"
"""What the keys do, for the bottom of the screen."""
_AGAIN_S = 0.4
"""How often to tell `Teaching` that a key is still held."""
_LOOK_S = 2.0
_NEWS_S = 4.0
_LONGEST = 40
_DIGITS = "123456789"


class TeachingKeys:
    """Teaches by keys. Used by the main thread, which never has to wait: another thread does the slow work."""

    def __init__(self, teaching: Teaching) -> None:
        self.active = False
        """Whether keys are for teaching now."""
        self._teaching = teaching
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._busy = 0
        self._news = ("", 0.0)
        self._over_s = -_NEWS_S
        """When teaching ended."""
        self._moved = ""
        """What was said last of pictures that were moved."""
        self._typed = ""
        self._class: int | None = None
        """The class recorded last since teaching was opened, counted from 0; typing renames it."""
        self._digit = ""
        """The digit that is held."""
        self._hold = ""
        self._said_s = self._looked_s = 0.0

    @property
    def just_over(self) -> bool:
        """Whether teaching ended only a moment ago: another Esc was meant for it, too."""
        return not self.active and time.monotonic() - self._over_s < _NEWS_S

    # -- keys -----------------------------------------------------------------

    def begin(self) -> None:
        """Open teaching."""
        self.active, self._typed, self._digit, self._class = True, "", "", None
        self._do(self._teaching.open)

    def press(self, key: str) -> None:
        """Handle a key: a character, `space`, `enter`, `backspace`, `esc`."""
        character = " " if key == "space" else key
        if key == "esc":
            self._escape()
        elif key == "enter":
            self._enter()
        elif key == "backspace":
            self._back()
        elif character in _DIGITS and not self._typed:
            if character != self._digit:
                self._digit, self._hold = character, f"{character} {time.monotonic()}"
                self._class, self._said_s = int(character) - 1, 0.0
        elif len(character) == 1 and character.isprintable() and self._labels():
            if self._class is None:  # a letter meant for something else would rename a class
                self._say("press a number first: letters name its class")
            else:
                self._typed = (self._typed + character).lstrip()[:_LONGEST]

    def held(self, keys: Set[str]) -> None:
        """Take the keys that are down now; call it again and again."""
        now_s = time.monotonic()
        if self._digit and self._digit not in keys:
            self._digit = ""
            self._teaching.release()
        elif self._digit and now_s - self._said_s >= _AGAIN_S:
            self._said_s = now_s
            self._record()
        if now_s - self._looked_s > _LOOK_S and not self._busy:
            self._looked_s = now_s
            self._do(self._teaching.look)  # so that the live label follows

    def leave(self) -> None:
        """End teaching by keys; what was recorded stays."""
        self._end("teaching is over; what was recorded is kept")
        self._teaching.release()
        self._work.put(None)
        self._thread = None

    def _escape(self) -> None:
        if self._typed:
            self._typed = ""
        else:
            self.leave()

    def _enter(self) -> None:
        if self._typed:
            labels, wanted, self._typed = self._labels(), self._typed.strip(), ""
            if self._class is not None and self._class < len(labels) and wanted:
                old = labels[self._class]
                self._do(lambda: self._teaching.rename_class(old, wanted))
        else:
            self._do(self._use)

    def _end(self, said: str) -> None:
        self._say(said)
        self._over_s = time.monotonic()
        self.active, self._digit, self._typed = False, "", ""  # keys have their usual meaning again

    def _use(self) -> None:
        self._teaching.use()
        status = self._teaching.status()
        lasting = "" if status.get("remembers") else " until the program ends: it has no configuration file"
        if self.active:
            self._end(f"“{status.get('name', '')}” is in use now{lasting}; teaching is over")
        else:  # somebody left meanwhile
            self._say(f"“{status.get('name', '')}” is in use now{lasting}")

    def _back(self) -> None:
        if self._typed:
            self._typed = self._typed[:-1]
        else:
            self._do(lambda: f"undone: {done}" if (done := self._teaching.undo(use=False)) else "nothing to undo")

    def _record(self) -> None:
        labels, hold = self._labels(), self._hold
        if self._class is not None and self._class < len(labels):
            self._hold_down(labels[self._class], hold)
        elif not self._busy:
            self._class = len(labels)  # classes are numbered in order, whatever digit was pressed
            name = f"class {len(labels) + 1}"
            self._do(lambda: self._made(name))

    def _made(self, name: str) -> None:
        self._teaching.add_class(name)

    def _hold_down(self, label: str, hold: str) -> None:
        try:
            self._teaching.hold(label, hold)
        except PicamError as error:
            self._say(str(error))
            self._said_s += 2.0

    # -- the thread -------------------------------------------------------------

    def _do(self, work: Callable[[], object]) -> None:
        """Do something that may take a while in the thread; text that it returns is shown."""
        if self._thread is None:
            self._work = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._run, args=(self._work,), name="teaching keys", daemon=True)
            self._thread.start()
        self._busy += 1
        self._work.put(work)

    def _run(self, tasks: queue.SimpleQueue[Callable[[], object] | None]) -> None:
        while (work := tasks.get()) is not None:
            try:
                told = work()
                self._say(told if isinstance(told, str) else "")
            except PicamError as error:
                self._say(str(error))
            except Exception:  # the top of a thread: the next key may work
                log.exception("teaching at the monitor: an internal error")
                self._say("an internal error; see the journal")
            self._busy -= 1

    def _say(self, text: str) -> None:
        if text:
            self._news = (text, time.monotonic() + _NEWS_S)

    # -- the screen -------------------------------------------------------------------

    def seen(self) -> Seen | None:
        """Return what the lesson says of the newest picture; None: it is not open yet."""
        return self._teaching.seen()

    # -- words --------------------------------------------------------------------

    def words(self) -> str:
        """Return the text for the screen, several lines; after the end, what came of it."""
        if not self.active:
            return self._fresh_news()
        status = self._teaching.status()
        if status["stage"] in ("closed", "opening"):
            return f"teaching: {self._fresh_news() or 'opening …'}"
        self._tell_moved((status.get("moved") or {}).get("text", ""))
        counts = {one["label"]: one["pictures"] for one in status.get("classes", ())}
        labels = list(counts)  # from the same status, as the next one may have other classes
        lines = [self._first(status, labels)]
        for at, label in enumerate(labels[:9]):
            mark = "●" if status.get("recording") == label else " "
            name = f"{self._typed}▏" if self._typed and at == self._class else label
            pictures = f"{counts[label]} {'picture' if counts[label] == 1 else 'pictures'}"
            lines.append(f"{at + 1} {mark} {isolated(name)} · {pictures}")
        if len(labels) < 9:
            lines.append(f"{len(labels) + 1}   hold for a new class")
        return "\n".join([*lines, *filter(None, [self._fresh_news()])])

    def _tell_moved(self, moved: str) -> None:
        if moved and moved != self._moved:
            self._say(moved)
        self._moved = moved

    def _first(self, status: dict[str, Any], labels: list[str]) -> str:
        lesson = f"lesson “{isolated(status['name'])}”"
        if status["stage"] == "saving":
            return f"{lesson}: saving …"
        if not labels:
            return f"{lesson}: hold 1 and show the first thing"
        return f"{lesson}: {status['waiting']} to learn" if status.get("waiting") else lesson

    def _fresh_news(self) -> str:
        text, until_s = self._news
        return text if time.monotonic() < until_s else ""

    def _labels(self) -> list[str]:
        return [one["label"] for one in self._teaching.status().get("classes", ())]
