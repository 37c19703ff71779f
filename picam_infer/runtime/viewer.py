"""The main thread's loop: shows the newest frame on the screen, and acts on keys."""

from __future__ import annotations

import logging
import time

import msgspec

from picam_infer.core import BadFrame, ConfigError, Frame, Pixels, Prediction, Result, percent
from picam_infer.imaging import decode, region
from picam_infer.imaging.letterbox import Resizer
from picam_infer.imaging.region import Roi
from picam_infer.inference import preprocess
from picam_infer.models.bundle import Edges
from picam_infer.outputs.annotator import Annotator, StatusScreen, Subject, starting_screen, status_screen
from picam_infer.outputs.display.screen import Screen
from picam_infer.outputs.invitation import InvitationScreen
from picam_infer.runtime.pace import Pace
from picam_infer.runtime.settings import RuntimeSettings
from picam_infer.runtime.share import link
from picam_infer.runtime.state import State
from picam_infer.runtime.status_text import fresh_result
from picam_infer.runtime.teaching import Teaching
from picam_infer.runtime.teaching.keys import HELP, TeachingKeys
from picam_infer.runtime.teaching.live_label import Seen

log = logging.getLogger(__name__)

_TICK_S = 0.1
_MESSAGE_S = 4.0
_CANNY_STEP = 5.0
_REGION_STEP = 0.02
_REGION_KEYS = {
    "left": (-_REGION_STEP, 0.0, 0.0),
    "right": (_REGION_STEP, 0.0, 0.0),
    "up": (0.0, -_REGION_STEP, 0.0),
    "down": (0.0, _REGION_STEP, 0.0),
    "pageup": (0.0, 0.0, _REGION_STEP),
    "pagedown": (0.0, 0.0, -_REGION_STEP),
}
"""Steps to the right, down and in size, as shares of the picture's height."""
_REDRAW_S = 0.5
_FROZEN = "frozen: press Space to go on"
_HELP_S = 15.0
_HELP = """q, Esc: quit · f: full screen · Space: freeze · h: this help
t: teach · n: QR code that opens the page on a phone
arrows, Page Up, Page Down, Home: the region · w s, d a: Canny · p: save"""
_CANNY_KEYS = {"w": (0, 1), "s": (0, -1), "d": (1, 1), "a": (1, -1)}


class _Frozen(msgspec.Struct, frozen=True, eq=False):
    """The picture that somebody froze."""

    picture: Pixels
    result: Result | None
    """What the model said of it."""


class Viewer:
    """Draws the newest frame with the newest result, at the camera's rate and never faster."""

    def __init__(
        self, screen: Screen, state: State, settings: RuntimeSettings, teaching: Teaching | None = None
    ) -> None:
        """`teaching`: what the key `t` opens; None: there is nothing to teach."""
        self._teaching = TeachingKeys(teaching) if teaching is not None else None
        self._screen = screen
        self._state = state
        self._settings = settings
        self._number = 0
        self._frozen: _Frozen | None = None
        self._shown: Frame | None = None
        self._redraw: tuple[str, float] = ("", 0.0)
        """The message that the frozen picture was drawn with, and when it is drawn again."""
        self._annotator = Annotator(state, screen.settings, state.stats.shown)
        self._resizer = Resizer()
        self._pace = Pace(screen.settings.fps)
        self._message = ("", 0.0)
        self._status_s = 0.0
        self.quit = False
        screen.report_to(state.health)

    def step(self) -> bool:
        """Wait briefly for a frame and show it, or a status screen; False: there was nothing to show yet."""
        teaching = self._teaching_now()
        just_over = self._teaching is not None and self._teaching.just_over
        taken = teaching is not None or self._state.share.presenting() is not None
        for key in self._screen.keys(taken, esc_closes=not just_over):
            self._press(key)
        if teaching is not None:
            teaching.held(self._screen.held())
        there = self._screen.there()
        self._state.display, self._state.closed = self._screen.name, self._screen.closed
        if not there:
            self._state.unpacked.forget(self)
            time.sleep(_TICK_S)  # without a monitor, there is nothing to do for every frame
            return True
        if invitation := self._invitation():
            self._state.unpacked.forget(self)
            return self._show_status(invitation)
        if status := status_screen(self._state):
            self._state.unpacked.forget(self)
            return self._show_status(status)
        early_s = self._pace.early_s
        if early_s > 0:
            self._state.unpacked.forget(self)
            time.sleep(min(early_s, _TICK_S))
            if self._state.stats.frames.per_second() > self._screen.settings.fps:
                self._number = self._state.frames.number  # the next one is newer, and the network needs it too
            return True
        if self._frozen is not None:
            self._number = self._state.frames.number
            return self._show_frozen(self._frozen)
        self._state.unpacked.expect(self, self._screen.size)
        newest = self._state.frames.peek(self._number, _TICK_S)
        if newest is None and self._number == 0:
            self._show_status(starting_screen(self._state))  # also on a monitor that was plugged in after the first one
            return False
        if newest is None:
            return True
        self._number, frame = newest
        self._pace.begin()
        return self._show(frame)

    def _show(self, frame: Frame) -> bool:
        """Show a frame in as many pixels as the screen has."""
        try:
            picture = self._state.unpacked.whole(frame, self, self._screen.size)
        except BadFrame:
            return True
        self._shown = frame
        if self._draw(picture, self._message_now(), self._lesson()):
            self._state.stats.shown.tick()
            self._state.stats.shown_age_s.append(time.monotonic() - frame.monotonic_s)
        return True

    def _draw(self, picture: Pixels, message: str, subject: Subject | None) -> bool:
        size = self._screen.size
        image = self._resizer.fit(picture, *size) if min(size) > 0 else picture
        return self._screen.show(image, self._annotator.over(image, message, subject))

    def _show_frozen(self, frozen: _Frozen) -> bool:
        """Show the frozen picture with its own result and whatever the keys have to say, again and again."""
        self._state.unpacked.forget(self)
        message = "\n".join(filter(None, [_FROZEN, self._message_now()]))
        said, due_s = self._redraw
        if message == said and time.monotonic() < due_s:
            time.sleep(_TICK_S)
            return True
        self._redraw = message, time.monotonic() + _REDRAW_S
        now = self._annotator.newest()
        self._draw(frozen.picture, message, msgspec.structs.replace(now, result=frozen.result))
        return True

    def _freeze(self) -> None:
        """Freeze the picture that is shown, or go on."""
        if self._frozen is not None or self._shown is None:
            self._frozen = None
            return
        try:
            picture = self._state.unpacked.whole(self._shown, self, self._screen.size)
        except BadFrame:
            return
        self._frozen = _Frozen(picture, fresh_result(self._state))
        self._redraw = ("", 0.0)

    def _lesson(self) -> Subject | None:
        """Return what the lesson says of the picture, while it is taught; None: nothing is being taught."""
        if (teaching := self._teaching_now()) is None:
            return None
        seen = teaching.seen()
        if seen is None:
            return msgspec.structs.replace(self._annotator.newest(), result=None, foot=HELP)
        return Subject(_as_result(seen), seen.chain, seen.network, HELP)

    def _invitation(self) -> InvitationScreen | None:
        """Return the invitation for a phone, while it is to be shown."""
        share = self._state.share
        invitation = share.presenting()
        if invitation is None:
            return None
        addresses = share.addresses()
        first = link(addresses[0], invitation.code) if addresses else ""
        now = share.now
        return InvitationScreen(first, addresses, now.how_long if now else "by web.listen", share.fault)

    def _share(self, key: str) -> None:
        """Handle a key while the page is offered to a phone, or the key that offers it."""
        share = self._state.share
        offered = share.presenting() is not None
        try:
            if key == "x":
                share.close()
                self._say("the page is closed to the network")
            elif offered:
                share.dismiss()
            else:
                share.present()
                if share.now is None:
                    share.open()
        except ConfigError as error:
            log.warning("%s", error)
            self._say(str(error))
        self._status_s = 0.0

    def _show_status(self, status: StatusScreen | InvitationScreen) -> bool:
        if time.monotonic() - self._status_s < 0.5:
            time.sleep(_TICK_S)
            return True
        self._status_s = time.monotonic()
        return self._screen.show_status(status)

    def _message_now(self) -> str:
        """Return what a key has just done, or what is being taught; empty: nothing recent."""
        text, until_s = self._message
        taught = self._teaching.words() if self._teaching is not None else ""
        return taught or (text if time.monotonic() < until_s else "")

    def _teaching_now(self) -> TeachingKeys | None:
        return self._teaching if self._teaching is not None and self._teaching.active else None

    def _press(self, key: str) -> None:
        if (teaching := self._teaching_now()) is not None:
            teaching.press(key)
        elif key == "esc" and self._state.share.presenting() is None:
            return  # it came too late for what it was meant for
        elif key == "t":
            self._teach()
        elif key in ("h", "?"):
            self._message = (_HELP, time.monotonic() + _HELP_S)
        elif key == "n" or self._state.share.presenting() is not None:
            self._share(key)
        elif key == "q":
            self.quit = True
        elif key == "space":
            self._freeze()
        elif key in _CANNY_KEYS:
            self._turn_canny(*_CANNY_KEYS[key])
        elif key in _REGION_KEYS:
            self._move_region(*_REGION_KEYS[key])
        elif key == "home":
            roi = self._state.tuning.preprocess.roi
            self._change_region(region.of(roi).size)
        elif key == "p":
            self._save()

    def _teach(self) -> None:
        if self._teaching is None or not self._state.watching:
            self._say("nothing can be taught without a picture")
            return
        self._frozen = None
        self._teaching.begin()

    def _turn_canny(self, which: int, direction: int) -> None:
        chain = self._state.tuning.preprocess
        if not isinstance(chain, Edges):
            self._say("this model has no Canny thresholds")
            return
        value = min(1000.0, max(0.0, chain.canny[which] + direction * _CANNY_STEP))
        self._settings.change({f"preprocess.canny.{which}": value})
        strong, joined = self._settings.values()["preprocess.canny"]
        self._say(f"Canny {strong:g} / {joined:g}   (p saves it)")

    def _move_region(self, right: float, down: float, larger: float) -> None:
        newest = self._state.frames.peek()
        if newest is not None:
            size, roi = decode.size(newest[1]), self._state.tuning.preprocess.roi
            aspect = preprocess.aspect(self._state.tuning.preprocess, self._state.network)
            self._change_region(region.moved(roi, *size, right, down, larger, aspect))

    def _change_region(self, roi: Roi) -> None:
        self._settings.change({"preprocess.roi": msgspec.to_builtins(roi)})
        at = region.of(roi)
        self._say(f"region {percent(at.size)} at {percent(at.x)}, {percent(at.y)}   (p saves it)")

    def _save(self) -> None:
        try:
            self._settings.save()
            self._say(f"saved in {self._settings.path}")
        except ConfigError as error:
            if self._settings.path is not None:
                log.error("%s", error)
            self._say(str(error))

    def _say(self, text: str) -> None:
        self._message = (text, time.monotonic() + _MESSAGE_S)


def _as_result(seen: Seen) -> Result | None:
    """Return what a lesson says as a result; None: nothing yet."""
    if (answer := seen.answer) is None:
        return None
    label, score = answer["label"], answer["score"]
    top = (Prediction(label or "", score),)
    return Result(0, answer["captured"], time.monotonic(), label, score, top, "", 0.0, 0.0, seen.input_image)
