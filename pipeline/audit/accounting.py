"""Frame accounting: captured = scored + dropped (by reason) + dead + in flight, per camera.

Every count comes from the raw topics. What the cameras say they captured (heartbeats) is held against what is in
`frames`, and each record of `frames` that the replicas have committed against `scores` and `frames.dead`.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.audit.deleted import NOTHING, Deleted
from pipeline.events import BootEnd, ContractError, Doubt, Frame, Heartbeat, Score, Verdict
from pipeline.kafka.dead_letters import cause_of_death
from pipeline.kafka.records import Incoming

UNKNOWN = "(unknown)"
"""Stands for the camera of a record that does not say whose it is."""

DIED = "died"
"""The reason of frames that were in a camera worker's memory when it was killed."""

MAY_HAVE_ARRIVED = ("shutdown", "spool_full", "unreadable")
"""Reasons for which a camera worker gives up frames that are on their way: those that Kafka took without the answer
coming back are no drops. In the order in which they are believed least."""

SCORE_TOLERANCE = 1e-6
"""Relative. Two scores of one frame by one model that differ by more are a fault: the model promises the same."""

_CAMERA_CHARACTERS = 64
"""Of a camera's name at most. The key of a stray record may be megabytes."""

_IMPLAUSIBLE = 1_000_000
"""So many frames no camera takes without a heartbeat: at 100 a second, nearly three hours."""

_OF_ARRIVAL = frozenset({Doubt.LATE, Doubt.FUTURE})

Boot = tuple[str, str]
"""(camera_id, boot_id)"""
Place = tuple[int, int]
"""(partition, offset) in `frames`"""
Claim = tuple[Boot, int]
"""The frame that a record says it is."""


@dataclass(frozen=True)
class CameraAccount:
    """One camera's frames. Each frame is counted in exactly one of scored, dropped, dead, in flight and missing."""

    camera_id: str
    captured: int
    scored: int
    not_ok: int
    not_decidable: int
    dropped: Mapping[str, int]
    dead: Mapping[str, int]
    in_flight: int
    missing: int
    """Frames that the camera counted and that are nowhere."""
    duplicates: int
    """Scores beyond the first of a frame, with the same result. Harmless: delivery is at least once."""
    contradictions: tuple[str, ...]
    """In words: what of one frame can't be true together, as two results by one model."""
    unanswered: int = 0
    """Frames, not counted as captured, whose result Kafka may have deleted before the frame itself."""

    @property
    def balanced(self) -> bool:
        """Nothing is missing, nothing contradicts itself, and the sum holds."""
        accounted = self.scored + sum(self.dropped.values()) + sum(self.dead.values()) + self.in_flight
        return self.captured == accounted and not self.contradictions


@dataclass(frozen=True, slots=True)
class _Result:
    """What a `Score` says of its frame. A ledger may hold millions."""

    verdict: Verdict
    score: float | None
    model_hash: str
    untimely: bool
    """By its record's arrival, which says nothing of a copy: one that was sent again after Kafka was away is late."""
    place: Place


@dataclass
class _BootFacts:
    published: dict[int, list[Place]] = field(default_factory=lambda: defaultdict(list))
    """Sequence → where it is in `frames`; more than one place when it was sent again."""
    heartbeat: Heartbeat | None = None
    """The last that came."""
    ran: int = 0
    """Number of the last heartbeat that said that this boot runs; of a boot that never said so, of its good end."""

    @property
    def captured(self) -> int:
        return max(self.heartbeat.captured if self.heartbeat else 0, max(self.published, default=-1) + 1)


@dataclass
class Ledger:
    """Fed with every record of the raw topics, in any order of the topics, then `accounts` draws the sum.

    Heartbeats come in the order of their one partition, and that is what orders them: the clock of a camera may be set
    back, and with it `sent_at` and the order of the boot ids.
    """

    boots: dict[Boot, _BootFacts] = field(default_factory=lambda: defaultdict(_BootFacts))
    strays: dict[Place, str] = field(default_factory=dict)
    """Records of `frames` that do not keep the contract → camera, as far as their key tells."""
    claims: dict[Place, Claim] = field(default_factory=dict)
    """Of these, the frame that each says it is."""
    results: dict[Boot, dict[int, list[_Result]]] = field(default_factory=lambda: defaultdict(dict))
    """By sequence."""
    deaths: dict[tuple[Place, Claim | None], str] = field(default_factory=dict)
    """By the frame, too: in a topic that was made anew, the places of old ones are those of others."""
    dead: dict[Boot, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    """By sequence."""
    heartbeats: int = 0
    """That were read: numbers them."""
    told_later: set[Boot] = field(default_factory=set)
    """Boots that heartbeats told of once all else was read. What these count is not held against what was read before:
    they only show that a boot has told of its frames."""
    first_offsets: dict[int, int] = field(default_factory=dict)
    """Partition of `frames` → the oldest offset that it has, or that was read. Above 0, older frames have expired."""
    deleted: Deleted = NOTHING
    from_the_beginning: bool = True
    """Whether all was read that Kafka has, and not what arrived since a moment."""
    scored_from_ms: dict[Boot, int] = field(default_factory=dict)
    """Arrival of the oldest score that Kafka has."""
    unsure: set[Place] = field(default_factory=set)
    """Frames whose result may have been deleted."""

    def add_frame(self, record: Incoming) -> None:
        place = (record.partition, record.offset)
        self.first_offsets[record.partition] = min(
            record.offset, self.first_offsets.get(record.partition, record.offset)
        )
        try:
            frame = Frame.from_headers(record.headers)
        except ContractError:
            self.strays[place] = (record.key or UNKNOWN.encode()).decode(errors="replace")[:_CAMERA_CHARACTERS]
            if claim := _claim(record):
                self.claims[place] = claim
            if self.deleted.covers(record, None):
                self.unsure.add(place)
            return
        if self.deleted.covers(record, frame.line_id):
            self.unsure.add(place)
        self.boots[frame.camera_id, frame.boot_id].published[frame.sequence].append(place)

    def add_score(self, record: Incoming) -> None:
        try:
            score = Score.from_json(record.value)
        except ContractError:
            return  # not written by a replica; it can't vouch for a frame
        boot = score.camera_id, score.boot_id
        self.scored_from_ms[boot] = min(record.timestamp_ms, self.scored_from_ms.get(boot, record.timestamp_ms))
        of_boot = self.results[boot]
        untimely = not _OF_ARRIVAL.isdisjoint(score.doubts)
        place = (score.position.partition, score.position.offset)
        result = _Result(score.verdict, score.score, score.model.hash, untimely, place)
        of_boot.setdefault(score.sequence, []).append(result)

    def add_dead(self, record: Incoming) -> None:
        cause = cause_of_death(record.headers)
        try:
            place = int(cause["partition"]), int(cause["offset"])
        except (KeyError, ValueError):
            return  # not one of our dead letters
        reason = cause.get("reason") or "unknown"
        self.deaths[place, claim := _claim(record)] = reason
        if claim:
            boot, sequence = claim
            self.dead[boot][sequence] = reason

    def add_heartbeat(self, record: Incoming) -> None:
        try:
            heartbeat = Heartbeat.from_json(record.value)
        except ContractError:
            return
        self.heartbeats += 1
        facts = self.boots[heartbeat.camera_id, heartbeat.boot_id]
        # An end may be told again by a successor, as long as the spool holds frames of that boot.
        if heartbeat.end is BootEnd.RUNNING or (heartbeat.end is BootEnd.CLEAN and facts.heartbeat is None):
            facts.ran = self.heartbeats
        facts.heartbeat = heartbeat

    def add_later_heartbeat(self, record: Incoming) -> None:
        with suppress(ContractError):
            heartbeat = Heartbeat.from_json(record.value)
            self.told_later.add((heartbeat.camera_id, heartbeat.boot_id))

    def accounts(self, committed: Mapping[int, int]) -> list[CameraAccount]:
        """committed: partition → first offset of `frames` that the replicas have not committed yet."""
        self._take_in_strays()
        last_ran: dict[str, int] = {}
        for (camera_id, _), facts in self.boots.items():
            last_ran[camera_id] = max(facts.ran, last_ran.get(camera_id, 0))
        parts: dict[str, list[_Sum]] = defaultdict(list)
        for (camera_id, boot_id), facts in self.boots.items():
            superseded = facts.ran < last_ran[camera_id]
            parts[camera_id].append(self._boot_sum((camera_id, boot_id), facts, committed, superseded))
        for place, camera_id in self.strays.items():
            parts[camera_id].append(self._stray_sum(place, committed))
        return [_account(camera_id, sums) for camera_id, sums in sorted(parts.items())]

    def _take_in_strays(self) -> None:
        """A frame that its camera counted, and that keeps another contract: it is not missing, and not one more."""
        captured: dict[Boot, int] = {}  # once a boot: it goes through all that was published, and no claim raises it
        for place, (boot, sequence) in self.claims.items():
            if boot not in self.boots or place not in self.strays:
                continue
            facts = self.boots[boot]
            if boot not in captured:
                captured[boot] = facts.captured
            if sequence < captured[boot] and sequence not in facts.published:
                facts.published[sequence].append(place)
                del self.strays[place]

    def _boot_sum(self, boot: Boot, facts: _BootFacts, committed: Mapping[int, int], superseded: bool) -> "_Sum":
        total = _Sum()
        scored = self.results.get(boot, {})
        for sequence, places in facts.published.items():
            frame_id = _frame_id(boot, sequence)
            results = scored.get(sequence, [])
            deaths = {at: reason for at in places if (reason := self._death(at, (boot, sequence)))}
            ended = deaths.keys() | {result.place for result in results}
            lost = [at for at in places if self._is_committed(at, committed) and at not in ended]
            if results:
                total.add_results(frame_id, results)
                # Even if its twin was scored: a record that was committed without an end is a fault.
                known = (at for at in lost if at not in self.unsure)
                total.contradictions += [f"{frame_id}: its copy at {at} was committed without a result" for at in known]
            elif deaths:
                total.dead[next(iter(deaths.values()))] += 1
            elif self.unsure.issuperset(lost) and lost:
                total.unanswered += 1
            elif lost:
                total.missing += 1
            else:
                total.in_flight += 1
        total.captured -= total.unanswered
        self._add_unpublished(total, boot, facts, superseded)
        return total

    def _is_committed(self, place: Place, committed: Mapping[int, int]) -> bool:
        return place[1] < committed.get(place[0], 0)

    def _death(self, place: Place, claim: Claim | None) -> str | None:
        """Why the frame there is dead. A dead letter that can't say which frame it was is told by its place alone."""
        return self.deaths.get((place, claim)) or self.deaths.get((place, None))

    def _add_unpublished(self, total: "_Sum", boot: Boot, facts: _BootFacts, superseded: bool) -> None:
        """What the camera counted but is not in `frames`: dropped, still with the camera, expired, missing, or scored
        or dead before a broker lost its record with the end of a log, or somebody the topic."""
        beat = facts.heartbeat
        captured = facts.captured
        dropped = Counter(beat.dropped if beat else {})
        first = self._first_retained(facts, captured)
        leap = captured - max(first, beat.captured if beat else 0)
        if leap > _IMPLAUSIBLE:
            total.contradictions.append(
                f"{_frame_id(boot, captured - 1)}: its number is {leap:,} above what its camera has told of, and all "
                "between count as missing. Who else writes to `frames`?"
            )
        deleted_unread = self._deleted_unread(boot, beat, first)
        total.missing += deleted_unread
        total.captured += captured - first + deleted_unread
        rest = captured - first - len(facts.published) - self._add_ended(total, boot, facts, range(first, captured))
        if first and dropped.total() > rest:
            # The camera counts since its boot; which of its drops fell into the retained span can't be told.
            dropped = Counter({"unattributed": rest})
        died = beat is not None and (beat.end is BootEnd.DIED or (beat.end is BootEnd.RUNNING and superseded))
        if died:
            del dropped[DIED]  # an upper bound, by a camera that could not know which of its frames got through
        _take_back(dropped, dropped.total() - rest)
        total.dropped += dropped
        rest -= dropped.total()
        if rest <= 0:
            return
        if beat is None:
            # One that began once the heartbeats were read has told where these are: as one that runs, below.
            if boot in self.told_later:
                total.in_flight += rest
            else:
                total.missing += rest
            return
        if died:
            with_camera = min(rest, beat.spooled)
            total.dropped[DIED] += rest - with_camera
        else:
            # Between two heartbeats a running camera may hold, or have dropped, what it has not reported yet.
            unreported = captured - beat.captured if beat.end is BootEnd.RUNNING else 0
            with_camera = min(rest, beat.buffered + beat.spooled + unreported)
            total.missing += rest - with_camera
        total.in_flight += with_camera

    def _add_ended(self, total: "_Sum", boot: Boot, facts: _BootFacts, span: range) -> int:
        """Those of this span that are scored or dead, and not in `frames`. Returns how many."""
        results = self.results.get(boot, {})
        deaths = self.dead.get(boot, {})
        scored = [one for one in results if one in span and one not in facts.published]
        dead = [one for one in deaths if one in span and one not in facts.published and one not in results]
        for sequence in scored:
            total.add_results(_frame_id(boot, sequence), results[sequence])
        total.dead.update(deaths[sequence] for sequence in dead)
        return len(scored) + len(dead)

    def _deleted_unread(self, boot: Boot, beat: Heartbeat | None, first: int) -> int:
        """Of the frames below `first`, which have expired: how many at least no replica ever read. Between the first
        and the last that was scored, as far as the camera can't have dropped them or hold them still."""
        scored = self.results.get(boot)
        if not self.from_the_beginning or not scored or beat is None:
            return 0
        if self.deleted.covers_deaths(boot[0], self.scored_from_ms[boot]):
            return 0
        ended = scored.keys() | self.dead.get(boot, {}).keys()
        span = range(min(scored), min(first, max(scored), beat.captured))
        holes = sum(sequence not in ended for sequence in span)
        lost = holes - sum(beat.dropped.values()) - beat.buffered - beat.spooled
        if lost > 0:  # dead letters that can't say whose they were; there may be many, and many boots
            lost -= sum(claim is None for _, claim in self.deaths)
        return max(0, lost)

    def _first_retained(self, facts: _BootFacts, captured: int) -> int:
        """The lowest sequence to answer for: 0, unless older frames have expired from the topic."""
        if not facts.published:
            return captured if any(self.first_offsets.values()) else 0
        lowest = min(facts.published)
        partition = facts.published[lowest][0][0]
        return lowest if self.first_offsets[partition] > 0 else 0

    def _stray_sum(self, place: Place, committed: Mapping[int, int]) -> "_Sum":
        reason = self._death(place, self.claims.get(place))
        if place in self.unsure and not reason and self._is_committed(place, committed):
            return _Sum(unanswered=1)
        total = _Sum(captured=1)
        if reason:
            total.dead[reason] += 1
        elif self._is_committed(place, committed):
            total.missing += 1
        else:
            total.in_flight += 1
        return total


@dataclass
class _Sum:
    captured: int = 0
    scored: int = 0
    not_ok: int = 0
    not_decidable: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    missing: int = 0
    duplicates: int = 0
    contradictions: list[str] = field(default_factory=list)
    unanswered: int = 0

    def add_results(self, frame_id: str, results: list[_Result]) -> None:
        self.scored += 1
        self.not_ok += results[0].verdict is Verdict.NOT_OK
        self.not_decidable += results[0].verdict is Verdict.NOT_DECIDABLE
        self.duplicates += len(results) - 1
        first_by_model: dict[str, _Result] = {}
        for result in results:
            first = first_by_model.setdefault(result.model_hash, result)
            if not _same(first, result):
                self.contradictions.append(f"{frame_id}: one model says both {first} and {result}")
                return


def _claim(record: Incoming) -> Claim | None:
    headers = dict(record.headers)
    try:
        camera_id, boot_id, sequence = (headers[name].decode() for name in ("camera_id", "boot_id", "sequence"))
        return ((camera_id, boot_id), int(sequence)) if int(sequence) >= 0 else None
    except (KeyError, ValueError, AttributeError):
        return None


def _take_back(dropped: Counter[str], arrived: int) -> None:
    """Leaves out so many drops of frames that Kafka has after all, as far as their reasons allow that."""
    for reason in MAY_HAVE_ARRIVED:
        arrived -= (taken := max(0, min(arrived, dropped[reason])))
        dropped[reason] -= taken


def _frame_id(boot: Boot, sequence: int) -> str:
    camera_id, boot_id = boot
    return f"{camera_id}:{boot_id}:{sequence}"


def _same(one: _Result, other: _Result) -> bool:
    if one.score is None or other.score is None:
        close = one.score is other.score
    else:
        close = abs(one.score - other.score) <= SCORE_TOLERANCE * max(1.0, abs(one.score))
    return close and (one.verdict is other.verdict or one.untimely or other.untimely)


def _account(camera_id: str, sums: list[_Sum]) -> CameraAccount:
    dropped: Counter[str] = Counter()
    dead: Counter[str] = Counter()
    for one in sums:
        dropped.update(one.dropped)
        dead.update(one.dead)
    return CameraAccount(
        camera_id=camera_id,
        captured=sum(s.captured for s in sums),
        scored=sum(s.scored for s in sums),
        not_ok=sum(s.not_ok for s in sums),
        not_decidable=sum(s.not_decidable for s in sums),
        dropped=dict(sorted(dropped.items())),
        dead=dict(sorted(dead.items())),
        in_flight=sum(s.in_flight for s in sums),
        missing=sum(s.missing for s in sums),
        duplicates=sum(s.duplicates for s in sums),
        contradictions=tuple(c for s in sums for c in s.contradictions),
        unanswered=sum(s.unanswered for s in sums),
    )
