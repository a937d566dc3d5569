/**
 * A model of re-fencing. The owner's reaction to a lost answer, PostgreSQL's
 * guarantees (server.ts) and the network's faults are steps that can come in any
 * order. States are small and immutable, so explore.ts can visit all of them. No
 * code of the store and no server is involved.
 *
 * The model always assumes the hardest case:
 * - All instances have the same name, so only times tell their rows apart.
 * - A write sets its stream's value unconditionally, so a late one always destroys
 *   later writes.
 * - A successor is the owner as soon as its row is committed; it waits for no
 *   lock.
 *
 * An instance that freezes or dies needs no step of its own: its steps do not
 * come, while the server's and the network's do. The model assumes that the
 * server eventually ends every transaction whose client is gone. Otherwise a
 * re-fence would wait for its lock for ever.
 */
import type { Model } from "./explore.ts";
import { FenceServer, flushName } from "./server.ts";
import {
  abandon,
  allRules,
  type Bounds,
  type Flush,
  type Instance,
  invariants,
  isOurs,
  isSettled,
  keyOf,
  nameOf,
  patch,
  patchFlush,
  patchWrite,
  type Place,
  placeOf,
  rankOf,
  type Rules,
  send,
  type State,
  type Status,
  type Step,
  step,
  type Write,
} from "./state.ts";

/** Higher than every time. */
const highest = 255;

/** The protocol, within bounds, as a model to explore. */
export class FenceModel implements Model<State> {
  readonly first: State;
  readonly #rules: Rules;
  readonly #server: FenceServer;

  constructor(bounds: Bounds, rules: Rules = allRules) {
    this.#rules = rules;
    this.#server = new FenceServer(rules, bounds.times);
    const time = bounds.times[0]!;
    const fresh: Write = { status: "waiting", epoch: 0, isCommitted: false };
    const instances = bounds.writes.map((counts, id): Instance => ({
      phase: id === 0 ? "owner" : "idle",
      base: time,
      epoch: time,
      top: time,
      isRefused: false,
      streams: counts.map((count) => Array<Write>(count).fill(fresh)),
    }));
    this.first = {
      rows: [{ by: 0, epoch: time }],
      values: bounds.writes[0]!.map(() => 0),
      instances,
      flushes: [],
      isRefenceLast: false,
      lossesLeft: bounds.losses,
      lateLeft: bounds.late,
      failoversLeft: bounds.failovers,
    };
  }

  steps(state: State): Step[] {
    return [
      ...state.instances.flatMap((one, id) => this.#instance(state, one, id)),
      ...state.flushes.flatMap((flush) => [
        ...this.#server.steps(state, flush),
        ...(flush.isAwaited ? this.#sender(state, flush) : []),
      ]),
      ...this.#failover(state),
    ];
  }

  isAtRest(state: State): boolean {
    return state.instances.every((one) =>
      one.phase === "idle" || one.phase === "stopped" ||
      one.phase === "owner" && !this.#isInDoubt(one) &&
        one.streams.every((writes) => writes.every(isSettled))
    );
  }

  key(state: State): string {
    return keyOf(state);
  }

  /** The steps of an instance itself. */
  #instance(state: State, one: Instance, id: number): Step[] {
    if (one.phase === "idle") {
      const next = patch(state, id, { phase: "starting" });
      return [step(`${id} starts`, send(next, { by: id, kind: "takeover" }))];
    }
    if (one.phase !== "owner") return [];
    const steps = one.streams.flatMap((writes, stream) => {
      const nth = writes.findIndex((write) => !isSettled(write));
      return nth < 0 ? [] : this.#write(state, one, { id, stream, nth });
    });
    const isRefencing = state.flushes.some(({ by, kind, isAwaited }) =>
      by === id && kind === "refence" && isAwaited
    );
    if (this.#isInDoubt(one) && !isRefencing) {
      steps.push(this.#refence(state, one, id));
    }
    const { base, epoch, top } = one;
    const isMine = this.#rules.watchCoversLostRefence
      ? isOurs(state, base, top)
      : isOurs(state, epoch, epoch);
    if (!isMine) {
      steps.push(...this.#stop(state, id, `${id} finds its row gone`));
    }
    return steps;
  }

  #refence(state: State, one: Instance, id: number): Step {
    const {
      epochIsNew,
      refenceCoversLostRefence,
      refenceOnlyRaises,
      refenceStartsAtBase,
    } = this.#rules;
    const epoch = (epochIsNew ? one.top : one.epoch) + 1;
    const next = patch(state, id, { top: epoch });
    const flush = {
      by: id,
      kind: "refence",
      epoch,
      from: !refenceStartsAtBase
        ? 0
        : refenceCoversLostRefence
        ? one.base
        : one.epoch,
      to: !refenceOnlyRaises
        ? highest
        : refenceCoversLostRefence
        ? epoch - 1
        : one.epoch,
    } as const;
    return step(`${id} re-fences ${epoch}`, send(next, flush));
  }

  /** The steps with a stream's first write that is not settled. */
  #write(state: State, one: Instance, at: Place): Step[] {
    const { id, stream, nth } = at;
    const { status, epoch } = one.streams[stream]![nth]!;
    const what = nameOf(at);
    const isFixed = epoch < one.epoch;
    const steps: Step[] = [];
    const isOpen = status === "waiting" || status === "again";
    if (isOpen && !this.#mustWait(one, stream)) {
      const sent = { status: "sent", epoch: one.epoch } as const;
      const next = send(patchWrite(state, at, sent), {
        by: id,
        kind: "write",
        stream,
        nth,
        epoch: one.epoch,
        isAfterRefence: one.top > one.epoch,
      });
      steps.push(step(`${what} is sent`, next));
    }
    if (status === "again") {
      steps.push(this.#settle(state, at, "failed", `${what} is given up`));
    }
    if (status === "sent" && isFixed && !this.#rules.rerunOnlyWhenRefused) {
      const flush = state.flushes.find((flush) =>
        flush.isAwaited && flush.kind === "write" && flush.by === id &&
        flush.stream === stream
      )!;
      const abandoned = abandon(state, flush, true);
      const next = patchWrite(abandoned, at, { status: "again" });
      steps.push(step(`${what} is run again unanswered`, next));
    }
    return status === "lost" ? this.#afterLoss(state, at, isFixed) : steps;
  }

  /** A write is fixed once a re-fence has followed its last flush. */
  #afterLoss(state: State, at: Place, isFixed: boolean): Step[] {
    const { refenceBeforeLook, refenceBeforeRetry, lookBeforeRetry } =
      this.#rules;
    const name = nameOf(at);
    // Its deadline comes while the database is out of reach.
    const steps = [this.#settle(state, at, "unknown", `${name} is given up`)];
    if (isFixed || !refenceBeforeLook) {
      steps.push(...this.#look(state, at, state.values));
    }
    if (isFixed ? !lookBeforeRetry : !refenceBeforeRetry) {
      const next = patchWrite(state, at, { status: "again" });
      steps.push(step(`${name} is run again`, next));
    }
    return steps;
  }

  /** Finds out from the rows whether a lost write was done. */
  #look(state: State, at: Place, values: readonly number[]): Step[] {
    const { base, top } = state.instances[at.id]!;
    const name = `${nameOf(at)} is looked for`;
    if (this.#rules.lookIsFenced && !isOurs(state, base, top)) {
      return this.#stop(state, at.id, name);
    }
    if (values[at.stream] === rankOf(at)) {
      return [this.#settle(state, at, "done", `${name}: done`)];
    }
    const next = patchWrite(state, at, { status: "again" });
    return [step(`${name}: not done`, next)];
  }

  /** Whether a lost write may still commit, or the row has an unknown time. */
  #isInDoubt(one: Instance): boolean {
    return one.isRefused ||
      one.streams.some((writes) => this.#hasDoubt(one, writes));
  }

  #hasDoubt(one: Instance, writes: readonly Write[]): boolean {
    const { refenceBeforeNextContactAfterUnknown: remembers } = this.#rules;
    return writes.some(({ status, epoch }) =>
      epoch >= one.epoch &&
      (status === "lost" || status === "unknown" && remembers)
    );
  }

  #mustWait(one: Instance, stream: number): boolean {
    return this.#rules.refenceBeforeLaterWrites
      ? this.#isInDoubt(one)
      : this.#hasDoubt(one, one.streams[stream]!);
  }

  #settle(state: State, at: Place, status: Status, name: string): Step {
    const { isCommitted } = state.instances[at.id]!
      .streams[at.stream]![at.nth]!;
    const isTrue = status === "unknown" || isCommitted === (status === "done");
    const next = patchWrite(state, at, { status });
    return {
      ...step(`${name}, reported as ${status}`, next, status !== "done"),
      broken: isTrue ? undefined : invariants.reportsAreTrue,
    };
  }

  /** Stops for good. Writes in flight are unknown, and unsent ones have failed. */
  #stop(state: State, id: number, why: string): Step[] {
    if (!this.#rules.stopWhenRowGone) return [];
    const streams = state.instances[id]!.streams.map((writes) =>
      writes.map((write): Write => {
        if (isSettled(write)) return write;
        const isOpen = write.status === "sent" || write.status === "lost";
        return { ...write, status: isOpen ? "unknown" : "failed" };
      })
    );
    let next = patch(state, id, { phase: "stopped", streams });
    for (const flush of state.flushes) {
      if (flush.by === id && flush.isAwaited) next = abandon(next, flush, true);
    }
    const isFalse = streams.flat().some(({ status, isCommitted }) =>
      status === "failed" && isCommitted
    );
    const broken = state.rows.some(({ by }) => by === id)
      ? invariants.ownerGoesOn
      : isFalse
      ? invariants.reportsAreTrue
      : undefined;
    return [{ ...step(`${why} and stops`, next), broken }];
  }

  /** The answer to a flush arrives, or is lost. */
  #sender(state: State, flush: Flush): Step[] {
    const steps: Step[] = [];
    if (flush.stage === "done" || flush.stage === "refused") {
      steps.push(...this.#receive(patchFlush(state, flush, undefined), flush));
    }
    if (state.lossesLeft === 0) return steps;
    const losing = { ...state, lossesLeft: state.lossesLeft - 1 };
    const name = flushName(flush);
    steps.push(
      step(`${name} is lost`, this.#lose(losing, flush, false), true),
    );
    if (flush.stage === "network" && state.lateLeft > 0) {
      const held = { ...losing, lateLeft: state.lateLeft - 1 };
      steps.push(
        step(`${name} is held back`, this.#lose(held, flush, true), true),
      );
    }
    return steps;
  }

  #lose(state: State, flush: Flush, isLate: boolean): State {
    const next = abandon(state, flush, isLate);
    switch (flush.kind) {
      case "write":
        return patchWrite(next, placeOf(flush), { status: "lost" });
      case "refence":
        return next;
      case "takeover":
        // The instance does not know its row, so it gives up.
        return patch(next, flush.by, { phase: "stopped" });
    }
  }

  /** A failover. No flush in flight reaches the new primary. */
  #failover(state: State): Step[] {
    const [row] = state.rows;
    if (state.failoversLeft === 0 || !state.isRefenceLast) return [];
    let next: State = {
      ...state,
      rows: [{ ...row!, epoch: row!.epoch - 1 }],
      isRefenceLast: false,
      failoversLeft: state.failoversLeft - 1,
    };
    for (const flush of state.flushes) {
      next = flush.isAwaited
        ? this.#lose(next, { ...flush, stage: "refused" }, false)
        : next;
    }
    const name = "a standby without the last re-fence takes over";
    return [step(name, { ...next, flushes: [] }, true)];
  }

  /** An answer arrives. A refused flush has certainly done nothing. */
  #receive(state: State, flush: Flush): Step[] {
    const { by, kind, stage } = flush;
    const one = state.instances[by]!;
    const name = `${by} gets the answer to ${flushName(flush)}`;
    if (kind === "takeover") {
      return [step(name, patch(state, by, { phase: "owner" }))];
    }
    if (kind === "refence") {
      return stage === "done"
        ? [this.#haveRefenced(state, flush, name)]
        : this.#stop(state, by, name);
    }
    const place = placeOf(flush);
    if (stage === "done") return [this.#settle(state, place, "done", name)];
    const again = patchWrite(state, place, { status: "again" });
    const isExplained = flush.epoch < one.epoch || this.#isInDoubt(one);
    if (isExplained) return [step(name, again)];
    return this.#rules.refenceDecides
      ? [step(name, patch(again, by, { isRefused: true }))]
      : this.#stop(state, by, name);
  }

  #haveRefenced(state: State, flush: Flush, name: string): Step {
    const { by, epoch } = flush;
    const refenced = step(name, patch(state, by, { epoch, isRefused: false }));
    if (this.#rules.lookTakesNewSnapshot) return refenced;
    // Here the look is part of the re-fence and has its snapshot.
    const { streams } = state.instances[by]!;
    return streams.reduce((last, writes, stream) => {
      const nth = writes.findIndex(({ status }) => status === "lost");
      if (nth < 0 || last.broken !== undefined) return last;
      const at = { id: by, stream, nth };
      return { ...this.#look(last.next, at, flush.seen)[0] ?? last, name };
    }, refenced);
  }
}
