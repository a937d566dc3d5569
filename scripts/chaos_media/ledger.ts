/** What the streams may hold, according to the messages of the processes. */
import type { StreamId } from "../../mod.ts";

/** What a process sends before and after each change of a stream. */
export type Message =
  | { what: "open" }
  | { what: "creates"; id: StreamId; version: number }
  /** This number of blocks may be stored. */
  | { what: "sends"; id: StreamId; blocks: number }
  /** This number of blocks is acknowledged. */
  | { what: "has"; id: StreamId; blocks: number }
  | { what: "seals"; id: StreamId }
  | { what: "created"; id: StreamId }
  | { what: "deletes"; id: StreamId }
  | { what: "deleted"; id: StreamId }
  /** A call has ended with this outcome. */
  | { what: "call"; name: string; outcome: string }
  | { what: "rss"; mb: number }
  /** Something that must not be. */
  | { what: "broken"; text: string };

/** What may be stored of a stream. */
export interface Possible {
  isAbsent: boolean;
  /** The version that was uploaded, sealed or not. */
  version: number | undefined;
  /** How many of its blocks are acknowledged. */
  blocks: number;
  /** How many of its blocks may be stored. */
  sent: number;
  /**
   * Blocks that were trimmed, and snapshots that were cleared, at the last
   * check.
   */
  cut: number;
  cleared: number;
  mayBeSealed: boolean;
  mayBeUpload: boolean;
}

/** A stream that does not exist. */
export const absent: Possible = {
  isAbsent: true,
  version: undefined,
  blocks: 0,
  sent: 0,
  cut: 0,
  cleared: 0,
  mayBeSealed: false,
  mayBeUpload: false,
};

/** Knows what each stream of a run may hold. */
export class Ledger {
  readonly #streams = new Map<StreamId, Possible>();
  readonly #versions = new Map<StreamId, number>();
  acknowledged = 0;
  /** What all checks together have found to be trimmed. */
  readonly trimmed = { blocks: 0, snapshots: 0 };

  of(id: StreamId): Possible {
    return this.#streams.get(id) ?? absent;
  }

  /** Returns the number of the next version, which no upload has used. */
  next(id: StreamId): number {
    return (this.#versions.get(id) ?? 0) + 1;
  }

  apply(message: Message): void {
    if (!("id" in message)) return;
    const { id } = message;
    const before = this.of(id);
    this.#streams.set(id, after(before, message));
    if (message.what === "creates") this.#versions.set(id, message.version);
    if (message.what === "has") {
      this.acknowledged += message.blocks - before.blocks;
    }
  }

  /** Takes what a check has found. */
  settle(id: StreamId, found: Possible): void {
    const before = this.of(id);
    this.#streams.set(id, found);
    if (found.version !== before.version) return;
    this.trimmed.blocks += found.cut - before.cut;
    this.trimmed.snapshots += Math.max(found.cleared - before.cleared, 0);
  }
}

function after(
  before: Possible,
  message: Extract<Message, { id: StreamId }>,
): Possible {
  switch (message.what) {
    case "creates":
      return { ...absent, version: message.version, mayBeUpload: true };
    case "sends":
      return { ...before, sent: message.blocks };
    case "has":
      return { ...before, isAbsent: false, blocks: message.blocks };
    case "seals":
      return { ...before, mayBeSealed: true };
    case "created":
      return { ...before, mayBeUpload: false };
    case "deletes":
      return { ...before, isAbsent: true };
    case "deleted":
      return absent;
  }
}
