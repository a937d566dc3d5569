/**
 * Finds out which server answers, with calls of the store alone. The block of
 * one stream differs between the servers, so each read of the block shows which
 * server has answered. The probes also write numbered candidates of another
 * stream, and afterwards look for each candidate on both servers.
 *
 * If a call begins on the old primary after another has ended on the new one,
 * the store uses both servers.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseStreamId, type StreamId, type StreamStorage } from "../../mod.ts";
import { bytesToHex } from "../../src/storage/stream_id.ts";
import type { Catalog } from "../../src/postgres/catalog.ts";
import type { Account } from "./account.ts";
import { describe, SmallPayloads } from "./load.ts";
import type { Server } from "./server.ts";

/** An acknowledged call and the server that answered it. */
export interface Answered {
  kind: "read" | "write";
  startedAt: number;
  endedAt: number;
  server: "old" | "new";
}

/** The streams of the probes. */
export const probeStreams: { read: StreamId; write: StreamId } = {
  read: parseStreamId("20" + "e".repeat(62)),
  write: parseStreamId("20" + "d".repeat(62)),
};

/** The payloads' ids, below those of the load. */
const [oldMark, newMark, writtenMark] = [1, 2, 3];
const paceMs = 20;

/** What {@linkcode Probes} need. */
export interface ProbesOptions {
  storage: StreamStorage;
  seed: string;
  catalog: Catalog;
  account: Account;
}

/** See the file's head. */
export class Probes {
  readonly #options: ProbesOptions;
  readonly #payloads: SmallPayloads;
  readonly #reads: Answered[] = [];
  readonly #writes: { number: number; startedAt: number; endedAt: number }[] =
    [];
  #storage: StreamStorage;
  #number = 10;
  #markedAt = Infinity;
  #isPaused = false;
  #isStopped = false;
  readonly #loops: Promise<void>[] = [];

  constructor(options: ProbesOptions) {
    this.#options = options;
    this.#storage = options.storage;
    this.#payloads = new SmallPayloads(options.seed);
  }

  /** Makes the streams and starts the probes. */
  async start(): Promise<void> {
    for (const stream of [probeStreams.read, probeStreams.write]) {
      await this.#storage.createStreamStorage(stream, {
        number: 0n,
        data: this.#payloads.bytes(oldMark),
      });
    }
    // Several probes, so that they use several connections.
    for (let nth = 0; nth < 3; nth++) {
      this.#loops.push(this.#loop(() => this.#read()));
    }
    for (let nth = 0; nth < 2; nth++) {
      this.#loops.push(this.#loop(() => this.#write()));
    }
  }

  /** Calls go to this store from now on. */
  use(storage: StreamStorage): void {
    this.#storage = storage;
  }

  /** Pauses the probes, or lets them go on. */
  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
  }

  /** Ends the probes after their calls in flight. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#loops);
  }

  /**
   * Changes the block on the promoted server, before any store uses that
   * server.
   */
  async mark(server: Server): Promise<void> {
    const { miniblocks } = this.#options.catalog.tablesOf(probeStreams.read);
    const data = bytesToHex(this.#payloads.bytes(newMark));
    await server.query(
      `BEGIN READ WRITE;
       UPDATE ${miniblocks} SET blockdata = decode('${data}', 'hex')
       WHERE stream_id = '${probeStreams.read}';
       COMMIT`,
    );
    this.#markedAt = performance.now();
  }

  /** Whether a read was answered by the new primary. */
  get readsAreNew(): boolean {
    return this.#reads.some(({ server }) => server === "new");
  }

  /** Returns the number of the last write on the server. */
  async lastOn(server: Server): Promise<number> {
    return Math.max(0, ...await this.#numbersOn(server));
  }

  /** Counts the acknowledged writes that are not on the server. */
  async lostOn(server: Server): Promise<number> {
    const stored = new Set(await this.#numbersOn(server));
    return this.#writes.filter(({ number }) => !stored.has(number)).length;
  }

  /**
   * Finds out which server has answered each call. `old` is undefined if the
   * old primary cannot be read.
   */
  async answers(next: Server, old: Server | undefined): Promise<Answered[]> {
    const onNew = new Set(await this.#numbersOn(next));
    const onOld = new Set(old ? await this.#numbersOn(old) : []);
    const writes = this.#writes.flatMap(({ number, ...rest }): Answered[] => {
      const [isNew, isOld] = [onNew.has(number), onOld.has(number)];
      // On both servers: the write was replicated while there was one primary.
      if (isNew === isOld) return [];
      // The write was replicated from an old primary that cannot be read.
      if (old === undefined && rest.startedAt < this.#markedAt) return [];
      const server = isNew ? "new" : "old";
      return [{ kind: "write", ...rest, server }];
    });
    const reads = this.#reads.filter(({ server, startedAt }) =>
      server === "new" || startedAt > this.#markedAt
    );
    return [...reads, ...writes];
  }

  async #loop(call: () => Promise<void>): Promise<void> {
    while (!this.#isStopped) {
      await delay(paceMs);
      if (!this.#isPaused) await call();
    }
  }

  async #read(): Promise<void> {
    const startedAt = performance.now();
    try {
      const { miniblocks: [block] } = await this.#storage.readMiniblocks(
        probeStreams.read,
        0n,
        1n,
      );
      const mark = this.#payloads.idOf(block!.data);
      this.#reads.push({
        kind: "read",
        startedAt,
        endedAt: performance.now(),
        server: mark === newMark ? "new" : "old",
      });
      this.#options.account.read(startedAt);
    } catch (error) {
      this.#options.account.read(startedAt, describe(error));
    }
  }

  async #write(): Promise<void> {
    const startedAt = performance.now();
    const number = this.#number++;
    const { account } = this.#options;
    try {
      await this.#storage.writeMiniblockCandidate(probeStreams.write, {
        number: BigInt(number),
        data: this.#payloads.bytes(writtenMark),
        hash: this.#payloads.hash(number),
      });
      account.wrote(startedAt, "acknowledged");
      this.#writes.push({ number, startedAt, endedAt: performance.now() });
    } catch (error) {
      account.wrote(startedAt, "failed", describe(error));
    }
  }

  async #numbersOn(server: Server): Promise<number[]> {
    const { candidates } = this.#options.catalog.tablesOf(probeStreams.write);
    const rows = await server.query(
      `SELECT seq_num FROM ${candidates}
       WHERE stream_id = '${probeStreams.write}'`,
    );
    return rows.map(({ seq_num }) => Number(seq_num));
  }
}

/**
 * Finds calls that began at the old primary after one had ended at the new one.
 */
export function split(answers: readonly Answered[]): Answered[] {
  const firstNew = Math.min(
    ...answers.filter(({ server }) => server === "new")
      .map(({ endedAt }) => endedAt),
  );
  return answers.filter(({ server, startedAt }) =>
    server === "old" && startedAt > firstNew
  );
}
