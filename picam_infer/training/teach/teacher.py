"""The teacher: takes pictures, learns them at once, and makes a bundle when asked for one."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from picam_infer.core import Frame, PicamError, Pixels, UsageError
from picam_infer.imaging.pictures import as_frame, decode_picture
from picam_infer.inference import preprocess
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle, Chain
from picam_infer.platform import disk, malloc
from picam_infer.platform.paths import real
from picam_infer.training.teach.backbone import Backbone, Vector
from picam_infer.training.teach.fitting import Fitted, digest_of
from picam_infer.training.teach.head import Head
from picam_infer.training.teach.lda import Array
from picam_infer.training.teach.live_model import LiveModel, Prediction
from picam_infer.training.teach.picture_set import Picture, PictureSet, clean_label, identify, label_order
from picam_infer.training.teach.report import Report
from picam_infer.training.teach.taught_card import card, features_key, reject_label
from picam_infer.training.teach.undo import Change, UndoStack

T = TypeVar("T")
_Removed = tuple[Picture, Vector | None]
"""A picture that was removed, and what was known about it."""


class Teacher:
    """The one owner of a set of taught pictures, and of what is learnt from them.

    Any thread may call anything. Two locks: one for the network, which works on one picture at a time, one for the
    pictures and what is learnt. So a slow picture does not make `predict` wait; `save`, `report`, `head` and `undo` do
    while they fit anew, which takes tens to hundreds of milliseconds. Each change is on disk when its
    call returns. `close` (or `with`) ends it.
    """

    def __init__(
        self,
        backbone: Bundle,
        pictures: PictureSet,
        layer: str | None = None,
        chain: Chain | None = None,
        progress: Callable[[int, int], None] = lambda *_: None,
        threads: int = 0,
    ) -> None:
        """Learn the set's pictures; `progress` is called with how many are done, of how many. Raises `PicamError`.

        `layer` names the backbone's features where they cannot be found; `chain` is used instead of its card's;
        `threads`: how many the network runs on; 0: its own choice.
        """
        self._lock = threading.RLock()
        self._network_lock = threading.Lock()
        self._backbone = Backbone(backbone, layer, threads)
        self._chain = chain or backbone.card.preprocess
        self._prepare = preprocess.build(self._chain, backbone.card.input)
        self._pictures = pictures
        self._undos = UndoStack()
        self._waiting: deque[str] = deque()
        """Ids of pictures that were kept and not learnt yet."""
        self._features: dict[str, Vector] = {}
        self._live = LiveModel(self._backbone.root)
        self._key = features_key(backbone, self._backbone.layer, self._chain)
        self.unreadable: list[str] = []
        """Pictures of the set that cannot be read (any more), with the reason: they are not learnt."""
        self._learn_all(progress)

    def __enter__(self) -> Teacher:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Keep the features for the next time; what was removed is deleted for good. May be called more than once."""
        with self._lock:
            self._undos.clear()
            self._pictures.forget_removed()
            self._pictures.save_features(self._key, self._features)

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def layer(self) -> str:
        """The backbone's layer that the features come from."""
        return self._backbone.layer

    def counts(self) -> dict[str, int]:
        """Return how many pictures each class has, in the classes' order."""
        with self._lock:
            labels = [picture.label for picture in self._pictures if picture.id in self._features]
        return {label: labels.count(label) for label in sorted(set(labels), key=label_order)}

    def pictures(self) -> list[Picture]:
        """Return the pictures, class by class."""
        with self._lock:
            return list(self._pictures)

    @property
    def waiting(self) -> int:
        """How many pictures are kept and not learnt yet."""
        return len(self._waiting)

    @property
    def undoes(self) -> str | None:
        """What `undo` would take back; None: there is nothing."""
        with self._lock:
            return self._undos.last

    @property
    def digest(self) -> str:
        """SHA-256 of the pictures that are learnt and their labels: a bundle's `origin` has that of its pictures."""
        with self._lock:
            return digest_of(self._learnt())

    def find(self, given: str) -> list[Picture]:
        """Return the pictures that a person means; see `PictureSet.find`."""
        with self._lock:
            return self._pictures.find(given)

    def read(self, picture: Picture) -> bytes:
        """Return a picture's bytes. Raises `OSError`."""
        with self._lock:
            return self._pictures.read(picture)

    # -- changing -------------------------------------------------------------------------------------------------

    def features(self, frame: Frame) -> Vector:
        """Return what the backbone says about a frame, (d,). Raises `BadFrame`."""
        return self.look(frame)[0]

    def look(self, frame: Frame) -> tuple[Vector, Pixels]:
        """Return what the backbone says about a frame, (d,), and what it was given of it, BGR (H, W, 3) or (H, W, 1).

        Raises `BadFrame`.
        """
        with self._network_lock:
            input_image = self._prepare(frame)
            found = self._backbone.features(
                preprocess.tensor(input_image, self._chain, self._backbone.bundle.card.input)
            )
            return found, preprocess.as_picture(input_image, self._chain).copy()

    def add(self, label: str, data: bytes, name: str = "", step: str = "") -> Picture:
        """Teach one picture, as bytes of a file. Raises `PicamError`: unreadable, no room, or not a label.

        A picture that was taught before is not taught twice; with another label it is relabelled. Changes of the same
        `step` one after the other are undone together.
        """
        label = _label(label)
        id = identify(data)
        with self._lock:
            known = self._pictures[id] if id in self._pictures and id in self._features else None
        if known is not None:
            return self.relabel(id, label, step) if known.label != label else known
        found = self._features_of(data, name or "the picture")
        with self._lock:
            key = self._key
            if id in self._pictures:  # another thread was faster, or it could not be read before
                if id not in self._features:
                    self._learn(self._pictures[id], found)
                return self._pictures[id]
            picture = self._written(lambda: self._pictures.add(label, data, name))
            self._learn(picture, found)
            added = Change(lambda: self._drop(picture.id), lambda: self._put_back([(picture, found)], key))
            self.remember(f"add {picture.name} to {label}", added, step)
            return picture

    def keep(self, label: str, data: bytes, name: str, step: str = "") -> Picture:
        """Keep a picture at once, for `learn_next` to learn it. Raises `PicamError`: no room, or not a label.

        Until `sync` a power cut may take it. Pictures of the same `step` one after the other are undone together.
        """
        label = _label(label)
        id = identify(data)
        with self._lock:
            if id in self._pictures:
                return self.relabel(id, label, step)
            picture = self._written(lambda: self._pictures.add(label, data, name, durable=False))
            self._waiting.append(id)
            kept = Change(lambda: self._drop_if_there(id), lambda: self._put_back([(picture, None)], ""))
            self.remember(f"add a picture to {label}", kept, step, lambda count: f"add {count} pictures to {label}")
            return picture

    def sync(self) -> None:
        """Flush the pictures that were kept to the disk. Raises `PicamError`."""
        with self._lock:
            self._written(self._pictures.sync)

    def learn_next(self) -> Prediction | None:
        """Learn the next picture that was kept; return what was predicted for it before, None: nothing was taught.

        Raises `PicamError` for one that cannot be read: it is taken out.
        """
        with self._lock:
            id = self._waiting.popleft()
            if id not in self._pictures or id in self._features:
                return None
            picture = self._pictures[id]
        try:
            found = self._features_of(self._pictures.read(picture), picture.name)
        except (PicamError, OSError) as error:
            with self._lock:
                if id in self._pictures:
                    self._drop(id)
            raise PicamError(f"a picture of {picture.label} cannot be read and was taken out ({error})") from error
        with self._lock:
            thought = self.predict(found) if self._live.ready else None
            if id in self._pictures and id not in self._features:
                self._learn(self._pictures[id], found)
            return thought

    def look_again(self, chain: Chain, progress: Callable[[int, int], None] = lambda *_: None) -> None:
        """Learn all pictures anew, by another part of each; what could be undone still can.

        `progress` is called with how many are done, of how many. Raises `PicamError`.
        """
        with self._network_lock:
            prepare = preprocess.build(chain, self._backbone.bundle.card.input)
            self._chain, self._prepare = chain, prepare
        with self._lock:
            self._key = features_key(self._backbone.bundle, self._backbone.layer, chain)
            self._features.clear()
            self._waiting.clear()
            self._live.clear()
        self._learn_all(progress)

    def relabel(self, id: str, label: str, step: str = "") -> Picture:
        """Move a picture to another class. Raises `UsageError` (no such picture) or `PicamError`.

        `step`: as in `keep`.
        """
        label = _label(label)
        with self._lock:
            old = self._known(id)
            if old.label == label:
                return old
            self._move(id, label)
            moved = Change(lambda: self._move(id, old.label), lambda: self._move(id, label))
            self.remember(f"move {old.name} from {old.label} to {label}", moved, step)
            return self._pictures[id]

    def remove(self, id: str, step: str = "") -> None:
        """Take a picture out. Raises `UsageError` (no such picture) or `PicamError`.

        `step`: as in `keep`.
        """
        with self._lock:
            picture, found, key = self._known(id), self._features.get(id), self._key
            self._drop(id)
            removed = Change(lambda: self._put_back([(picture, found)], key), lambda: self._drop(id))
            self.remember(f"remove {picture.name} from {picture.label}", removed, step)

    def rename_class(self, old: str, new: str, step: str = "", what: str = "") -> None:
        """Rename a class; it is merged with another one of that name. Raises `UsageError` or `PicamError`.

        `step`: as in `keep`; `what`: the change's name, if not that.
        """
        new = _label(new)
        with self._lock:
            ids = [picture.id for picture in self._of_class(old)]
            self._move_all(ids, new)
            renamed = Change(lambda: self._move_all(ids, old), lambda: self._move_all(ids, new))
            self.remember(what or f"rename {old} to {new}", renamed, step)

    def remove_class(self, label: str, step: str = "") -> None:
        """Take a class out with all its pictures. Raises `UsageError` (no such class) or `PicamError`.

        `step`: as in `keep`.
        """
        with self._lock:
            gone, key = [(picture, self._features.get(picture.id)) for picture in self._of_class(label)], self._key
            self._drop_all(gone, key)
            removed = Change(lambda: self._put_back(gone, key), lambda: self._drop_all(gone, key))
            self.remember(f"remove {label}", removed, step)

    def remember(self, what: str, change: Change, step: str = "", many: Callable[[int], str] | None = None) -> None:
        """Note how to undo a change; consecutive changes of one `step` count as one, named by `many`."""
        with self._lock:
            self._undos.remember(what, change, step, many)

    def undo(self) -> str | None:
        """Take the last change back, and return what it was; None: there is none.

        Raises `PicamError` when the disk does not take it: then it can be taken back later.
        """
        with self._lock:
            what = self._undos.undo()
            if what is not None:
                self._refit()  # so that predictions are again what they were before
            return what

    def redo(self) -> None:
        """Redo what `undo` has just taken back, as if it had not been called."""
        with self._lock:
            self._undos.redo()
            self._refit()

    # -- what was learnt -----------------------------------------------------------------------------------------

    def predict(self, features: Vector) -> Prediction:
        """Return what the classes say about a picture's features, (d,), with all that was taught until now.

        Raises `UsageError` when nothing was.
        """
        with self._lock:
            if not self._live.ready:
                self._anew()  # a bundle was written
            return self._live.predict(features)

    def report(self) -> Report:
        """Return how well it works, each picture left out in turn. Raises `UsageError` when nothing is taught."""
        with self._lock:
            return self._anew().report()

    def head(self) -> tuple[Head, list[str]]:
        """Return the taught layers and their classes' labels: the same for the same pictures, in whatever order."""
        with self._lock:
            fitted = self._anew()
            return fitted.head(), fitted.labels

    def save(
        self, folder: Path, name: str = "", check: Callable[[Bundle, Picture, Array], None] | None = None
    ) -> tuple[Bundle, Report]:
        """Write the bundle, whole or not at all; the same pictures give the same bytes. Raises `PicamError`.

        `name`: the bundle's, if not the folder's. `check` is called with the bundle, a taught picture, and the scores
        of that picture, (outputs,).
        """
        with self._lock:
            fitted = self._anew()
            labels, digest, said = [*fitted.labels, reject_label(fitted.labels)], fitted.digest, fitted.report()
            # The layers are made in the model's memory, which then stays free until the next question: a Pi has little.
            self._live.clear()
            layers = fitted.head(spend=True)
            witness = self._learnt()[0]
            scores = layers.probabilities(self._features[witness.id][None])[0]
            del fitted
        layers = replace(layers, shape=layers.shape.astype(np.float32))
        with self._network_lock:
            files = self._backbone.with_head(layers)
        del layers
        name = name or real(folder).name
        made = card(name, self._backbone.bundle, self._backbone.layer, self._chain, labels[-1], said, digest)
        bundle = bundles.save(folder, made, labels, files)
        del files
        if check is not None:
            malloc.trim()  # what writing left behind, before another copy of the network is tried
            check(bundle, witness, scores)
        return bundle, said

    # -- inside, with the lock held ---------------------------------------------------------------------------------

    def _known(self, id: str) -> Picture:
        if id not in self._pictures:
            raise UsageError(f"there is no taught picture {id}", "see the pictures' names in the folder")
        return self._pictures[id]

    def _of_class(self, label: str) -> list[Picture]:
        found = [picture for picture in self._pictures if picture.label == label]
        if not found:
            there = ", ".join(self.counts()) or "none"
            raise UsageError(f"there is no taught class {label!r}", f"classes: {there}")
        return found

    def _learnt(self) -> list[Picture]:
        return [picture for picture in self._pictures if picture.id in self._features]

    def _features_of(self, data: bytes, name: str) -> Vector:
        return self.features(as_frame(decode_picture(data, name)))

    def _learn_all(self, progress: Callable[[int, int], None]) -> None:
        kept = self._pictures.load_features(self._key)
        for done, picture in enumerate(list(self._pictures)):
            progress(done, len(self._pictures))
            found = kept.get(picture.id)
            if found is None or len(found) != self._backbone.count:
                try:
                    found = self._features_of(self._pictures.read(picture), picture.name)
                except (PicamError, OSError) as error:
                    self.unreadable.append(str(error))
                    continue
            self._features[picture.id] = found
        self._refit()

    def _learn(self, picture: Picture, found: Vector) -> None:
        self._features[picture.id] = found
        if self._live.outdated(len(self._features)):
            self._refit()
            return
        self._live.add(found, picture.label)
        self._refit_if_stale()

    def _drop(self, id: str) -> None:
        picture = self._written(lambda: self._pictures.remove(id))
        found = self._features.pop(id, None)
        if found is None or not self._live.ready:
            return
        if self._live.outdated(len(self._features)):
            self._refit()
            return
        self._live.remove(found, picture.label)
        self._refit_if_stale()

    def _drop_if_there(self, id: str) -> None:
        if id in self._pictures:  # one that could not be read is out already
            self._drop(id)

    def _move(self, id: str, label: str) -> None:
        old = self._pictures[id]
        self._written(lambda: self._pictures.relabel(id, label))
        if id in self._features and self._live.ready:
            self._live.relabel(self._features[id], old.label, label)
            self._refit_if_stale()

    def _move_all(self, ids: Sequence[str], label: str) -> None:
        before = [(id, self._pictures[id].label) for id in ids]
        _all_or_none(before, lambda one: self._move(one[0], label), lambda one: self._move(*one))

    def _drop_all(self, gone: Sequence[_Removed], key: str) -> None:
        _all_or_none(gone, lambda one: self._drop(one[0].id), lambda one: self._take_in(*one, key))

    def _put_back(self, gone: Sequence[_Removed], key: str) -> None:
        """Take pictures in again; `key`: what the features that they had depend on."""
        _all_or_none(gone, lambda one: self._take_in(*one, key), lambda one: self._drop(one[0].id))

    def _take_in(self, picture: Picture, found: Vector | None, key: str) -> None:
        self._written(lambda: self._pictures.restore(picture))
        if found is not None and key == self._key:
            self._learn(picture, found)
        else:  # it was removed before its turn came, or another part of it is used now
            self._waiting.append(picture.id)

    def _refit_if_stale(self) -> None:
        if self._live.stale:
            self._refit()

    def _anew(self) -> Fitted:
        """Fit anew, so that what follows depends on the pictures alone. Raises `UsageError` when nothing is taught."""
        fitted = self._refit()
        if fitted is None:
            raise UsageError("nothing is taught yet", "add a picture first")
        return fitted

    def _refit(self) -> Fitted | None:
        self._live.clear()  # first: two models at once would take twice the memory
        if not self._features:
            return None
        fitted = Fitted.to(self._learnt(), self._features, self._backbone.root)
        self._live.start_from(fitted)
        return fitted

    def _written(self, change: Callable[[], T]) -> T:
        try:
            return change()
        except OSError as error:
            raise disk.unwritable(self._pictures.folder, error) from error


def _all_or_none(items: Sequence[T], change: Callable[[T], None], back: Callable[[T], None]) -> None:
    """Change all items; those that were changed are changed back if one cannot be. Raises what `change` raises."""
    done: list[T] = []
    try:
        for item in items:
            change(item)
            done.append(item)
    except PicamError:
        for item in reversed(done):
            with contextlib.suppress(PicamError):
                back(item)
        raise


def _label(text: str) -> str:
    label = clean_label(text)
    if not label:
        raise UsageError(f"{text!r} cannot be the name of a class", "give it a name with visible characters")
    return label
