/**
 * A model of the protocol in src/database/ownership.ts. The actions of instances,
 * the guarantees of PostgreSQL and the mishaps are steps that can come in any
 * order. No code of the store and no server is involved.
 *
 * While an instance is frozen or dead, the server still executes the instance's
 * transactions. Only what the instance receives and decides waits.
 *
 * The file has more than 400 lines, because all steps act on one state.
 */

/** The rules of the protocol; without one of them it must break. */
export interface Rules {
  /** LISTEN is in place before the table is looked at. */
  listenFirst: boolean;
  /** Starters take turns under a table lock. */
  tableLock: boolean;
  /** A write is refused unless its instance's row is the only one. */
  fenceLooks: boolean;
  /** The fence keeps the row from being removed until the write has ended. */
  fenceLocks: boolean;
  /** The table is read again after a reconnection. */
  lookAfterReconnection: boolean;
  /** A new owner reads the table again, since it ignored earlier notifications. */
  lookAsOwner: boolean;
  /** A starter waits for the advisory lock. */
  waitForLock: boolean;
  /** A replaced instance releases the advisory lock by itself. */
  releaseWhenStopped: boolean;
  /** A row has a time, which tells two instances of the same name apart. */
  rowHasTime: boolean;
  /** An instance that stood by replaces only rows that it found with the lock. */
  standbyYields: boolean;
}

/** The protocol as it is. */
export const allRules: Rules = {
  listenFirst: true,
  tableLock: true,
  fenceLooks: true,
  fenceLocks: true,
  lookAfterReconnection: true,
  lookAsOwner: true,
  waitForLock: true,
  releaseWhenStopped: true,
  rowHasTime: true,
  standbyYields: true,
};

/** The number of names; instances share them, as after a restart. */
const names = 4;

type Phase =
  | "idle"
  // Standing by, without the lock and with it.
  | "standby"
  | "holding"
  // Starting.
  | "connected"
  | "locked"
  | "deleted"
  // Waiting.
  | "waiting"
  | "delayed"
  | "confirmed"
  // Afterwards.
  | "owner"
  | "stopping"
  | "stopped"
  | "dead";

/** One process. */
export interface Instance {
  id: number;
  phase: Phase;
  /** Its lock session is connected. */
  session: boolean;
  listening: boolean;
  /** It has a reason to read the table. */
  alarmed: boolean;
  /** Its lock session is new and does not have the lock yet. */
  recovering: boolean;
  frozen: boolean;
  hasClosed: boolean;
  /** The rows when it took the lock, if it stood by. */
  found: number[] | undefined;
}

interface Write {
  by: number;
  isFenced: boolean;
}

/**
 * The kinds of steps: `course` happens by itself, `choice` is a decision such as
 * to start or to write, and `mishap` is neither.
 */
export type StepKind = "course" | "choice" | "mishap";

interface Step {
  name: string;
  kind: StepKind;
  take(): void;
}

/** The protocol was broken. */
export class Violation extends Error {
  override name = "Violation";
}

/** The instances, the table, the lock, and the writes on the server. */
export class World {
  readonly instances: Instance[];
  /** The committed rows of the table. */
  rows: number[] = [];
  /** The instance that holds the advisory lock. */
  lock: number | undefined;
  /** The instances whose rows were written, in order. */
  readonly started: number[] = [];
  commits = 0;
  readonly trace: string[] = [];
  readonly #rules: Rules;
  #tableLock: number | undefined;
  /** Rows whose deletion a starter has not committed yet. */
  #deleting = new Map<number, number[]>();
  #writes: Write[] = [];

  constructor(instances: number, rules: Rules = allRules) {
    this.#rules = rules;
    this.instances = Array.from({ length: instances }, (_, id) => ({
      id,
      phase: "idle",
      session: false,
      listening: false,
      alarmed: false,
      recovering: false,
      frozen: false,
      hasClosed: false,
      found: undefined,
    }));
  }

  /** Takes one of the possible steps of these kinds; false if there is none. */
  step(nth: number, kinds: readonly StepKind[]): boolean {
    const steps = this.#steps().filter(({ kind }) => kinds.includes(kind));
    const step = steps[nth % steps.length];
    if (step === undefined) return false;
    this.trace.push(step.name);
    step.take();
    if (this.rows.length > 1) throw this.#violation("There are two rows");
    return true;
  }

  /** Takes steps of the course until none is left, and checks the end. */
  settle(): void {
    for (const instance of this.instances) instance.frozen = false;
    for (let steps = 0; this.step(steps, ["course"]); steps++) {
      if (steps > 10_000) throw this.#violation("It never comes to rest");
    }
    const last = this.instances[this.started.at(-1) ?? -1];
    for (const { id, phase } of this.instances) {
      const isOwner = phase === "owner";
      const isEnd = isOwner ||
        ["idle", "standby", "stopped", "dead"].includes(phase);
      if (!isEnd) throw this.#violation(`Instance ${id} is ${phase} for ever`);
      if (isOwner && id !== last?.id) {
        throw this.#violation(`Instance ${id} believes to be the owner`);
      }
    }
    if (last === undefined || last.phase === "dead" || last.hasClosed) return;
    if (last.phase !== "owner") {
      throw this.#violation(`Instance ${last.id}, the last, is not the owner`);
    }
    if (this.rows[0] !== last.id || this.lock !== last.id) {
      throw this.#violation("The owner has not both the row and the lock");
    }
  }

  #violation(what: string): Violation {
    return new Violation(`${what}:\n  ${this.trace.join("\n  ")}`);
  }

  #steps(): Step[] {
    return [
      ...this.instances.flatMap((one) => [
        ...(one.frozen ? [] : [...this.#starting(one), ...this.#owning(one)]),
        ...this.#mishaps(one),
      ]),
      ...this.#serverSteps(),
    ];
  }

  /** The steps from idle to being the owner. */
  #starting(one: Instance): Step[] {
    const { id, phase } = one;
    const step = (
      name: string,
      take: () => void,
      kind: StepKind = "course",
    ): Step[] => [{ name: `${id} ${name}`, kind, take }];
    switch (phase) {
      case "idle":
        return [
          ...step("connects", () => this.#connect(one, "connected"), "choice"),
          ...step("stands by", () => this.#connect(one, "standby"), "choice"),
        ];
      case "standby":
        if (this.lock !== undefined) return [];
        return step("takes the free lock", () => {
          this.lock = id;
          one.found = [...this.rows];
          one.phase = "holding";
        });
      case "holding":
      case "connected":
        if (this.#rules.tableLock && this.#tableLock !== undefined) return [];
        return step("locks the table", () => {
          one.phase = "locked";
          if (this.#rules.tableLock) this.#tableLock = id;
        });
      case "locked":
        if (this.#rules.standbyYields && !this.#isAsFound(one)) {
          return step("gives the lock back", () => {
            this.#endStart(one);
            this.lock = undefined;
            one.found = undefined;
            one.phase = "standby";
          });
        }
        if (this.rows.some((row) => this.#isHeld(row))) return [];
        return step("deletes all rows", () => {
          one.phase = "deleted";
          this.#deleting.set(id, [...this.rows]);
        });
      case "deleted":
        return step("writes its row", () => this.#writeRow(one));
      default:
        return this.#confirming(one, step);
    }
  }

  /** From the row to being the owner. */
  #confirming(
    one: Instance,
    step: (name: string, take: () => void) => Step[],
  ): Step[] {
    switch (one.phase) {
      case "waiting":
        return [
          ...step("tries the lock", () => this.#tryLock(one, "owner")),
          ...step("tries the lock again", () => this.#tryLock(one, "delayed")),
        ];
      case "delayed":
        return step("looks after the delay", () => {
          if (this.#isOurs(one)) one.phase = "confirmed";
          else one.phase = "stopping";
        });
      case "confirmed":
        return step("is the owner", () => this.#becomeOwner(one));
      default:
        return [];
    }
  }

  #connect(one: Instance, phase: Phase): void {
    one.phase = phase;
    one.session = true;
    one.listening = this.#rules.listenFirst;
  }

  /** Whether no starter has come since the instance took the lock. */
  #isAsFound({ found }: Instance): boolean {
    return found === undefined ||
      this.rows.every((row) => found.includes(row));
  }

  #writeRow(one: Instance): void {
    const deleted = this.#deleting.get(one.id)!;
    if (!this.#isAsFound(one)) {
      throw this.#violation(`${one.id}, that stood by, replaces a starter`);
    }
    this.rows = this.rows.filter((row) => !deleted.includes(row));
    this.rows.push(one.id);
    this.started.push(one.id);
    this.#endStart(one);
    one.phase = "waiting";
    for (const other of this.instances) {
      if (other.listening) other.alarmed = true;
    }
  }

  /** The starter's transaction has ended. */
  #endStart(one: Instance): void {
    this.#deleting.delete(one.id);
    if (this.#tableLock === one.id) this.#tableLock = undefined;
  }

  #tryLock(one: Instance, then: "owner" | "delayed"): void {
    // Before the first try it has just written the row.
    if (then === "delayed" && !this.#isOurs(one)) {
      one.phase = "stopping";
      return;
    }
    const isFree = this.lock === undefined || this.lock === one.id;
    if (!isFree && this.#rules.waitForLock) return;
    this.lock ??= one.id;
    if (then === "owner") this.#becomeOwner(one);
    else one.phase = "delayed";
  }

  /** It forgets earlier notifications. */
  #becomeOwner(one: Instance): void {
    one.phase = "owner";
    one.alarmed = this.#rules.lookAsOwner;
  }

  /** The steps of an owner, and of an instance that was one. */
  #owning(one: Instance): Step[] {
    const { id, phase } = one;
    const steps: Step[] = [];
    const add = (
      name: string,
      take: () => void,
      kind: StepKind = "course",
    ) => steps.push({ name: `${id} ${name}`, kind, take });
    const isWriting = this.#writes.some(({ by }) => by === id);
    if (phase === "owner") {
      add("sends a write", () => {
        this.#writes.push({ by: id, isFenced: false });
      }, "choice");
      if (one.alarmed) add("looks at the table", () => this.#look(one));
      if (one.session && !one.listening && !one.alarmed) {
        add("listens", () => one.listening = true);
      }
      if (!one.session) add("reconnects", () => this.#reconnect(one));
      if (one.recovering && this.lock === undefined) {
        add("takes its lock back", () => {
          this.lock = id;
          one.recovering = false;
        });
      }
      if (!isWriting && !this.#isBeingDeleted(id)) {
        add("closes", () => this.#close(one), "mishap");
      }
    }
    if (phase === "stopping" && !isWriting) {
      add("has stopped", () => {
        one.phase = "stopped";
        if (this.#rules.releaseWhenStopped) this.#endSession(one);
      });
    }
    return steps;
  }

  #look(one: Instance): void {
    one.alarmed = false;
    if (!this.#isOurs(one)) one.phase = "stopping";
  }

  #reconnect(one: Instance): void {
    one.session = true;
    one.listening = true;
    one.recovering = true;
    one.alarmed = this.#rules.lookAfterReconnection;
  }

  #close(one: Instance): void {
    this.rows = this.rows.filter((row) => row !== one.id);
    one.phase = "stopped";
    one.hasClosed = true;
    this.#endSession(one);
  }

  /** The mishaps of an instance. */
  #mishaps(one: Instance): Step[] {
    const { id, phase } = one;
    const steps: Step[] = [];
    const add = (name: string, take: () => void) =>
      steps.push({ name: `${id} ${name}`, kind: "mishap", take });
    if (["idle", "stopped", "dead"].includes(phase)) return [];
    if (one.session) {
      add("loses its session", () => {
        this.#endSession(one);
        // An instance that is not the owner yet gives up.
        if (phase !== "owner" && phase !== "stopping") this.#die(one);
      });
    }
    add("dies", () => this.#die(one));
    if (one.frozen) add("wakes up", () => one.frozen = false);
    else add("freezes", () => one.frozen = true);
    return steps;
  }

  #die(one: Instance): void {
    this.#endSession(one);
    one.phase = "dead";
  }

  /** Ends the session: rolls its transaction back and frees its lock. */
  #endSession(one: Instance): void {
    this.#endStart(one);
    one.session = false;
    one.listening = false;
    one.alarmed = false;
    one.recovering = false;
    if (this.lock === one.id) this.lock = undefined;
  }

  /** The server's steps with writes that were sent. */
  #serverSteps(): Step[] {
    return this.#writes.flatMap((write): Step[] => {
      const one = this.instances[write.by]!;
      if (write.isFenced) {
        return [{
          name: `the write of ${write.by} commits`,
          kind: "course",
          take: () => this.#commit(write),
        }];
      }
      if (this.#isBeingDeleted(write.by)) return [];
      return [{
        name: `the write of ${write.by} comes to the fence`,
        kind: "course",
        take: () => {
          if (!this.#rules.fenceLooks || this.#isOurs(one)) {
            write.isFenced = true;
            return;
          }
          this.#forget(write);
          // The refusal is a reason to read the table.
          if (one.phase === "owner") one.alarmed = true;
        },
      }];
    });
  }

  #commit(write: Write): void {
    this.#forget(write);
    this.commits++;
    const [row] = this.rows;
    if (row !== write.by) {
      throw this.#violation(
        `A write of ${write.by} commits, the row is ${row}`,
      );
    }
  }

  #forget(write: Write): void {
    this.#writes = this.#writes.filter((other) => other !== write);
  }

  #isOurs(one: Instance): boolean {
    const [row, second] = this.rows;
    if (row === undefined || second !== undefined) return false;
    return this.#rules.rowHasTime
      ? row === one.id
      : row % names === one.id % names;
  }

  /** Whether a write that has passed the fence keeps the row. */
  #isHeld(row: number): boolean {
    return this.#rules.fenceLocks &&
      this.#writes.some(({ by, isFenced }) => by === row && isFenced);
  }

  #isBeingDeleted(row: number): boolean {
    return [...this.#deleting.values()].some((rows) => rows.includes(row));
  }
}
