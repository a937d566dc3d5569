/**
 * Late copies of lost writes, delivered by the kernel. A partition of a real
 * network drops a write on its way, and the store gives its connection up. The
 * kernel keeps sending what the closed socket holds, and delivers it after later
 * writes were acknowledged. A late copy must not change their result.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { crashNetwork } from "../../scripts/crash/crash_network.ts";
import { FarServer } from "../../scripts/crash/far_server.ts";
import { RemoteStores } from "../../scripts/crash/remote_store.ts";
import type { RemoteCall } from "../../scripts/crash/remote_store_process.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamId, run } from "../../src/testing/contract/support.ts";
import {
  LossyNetwork,
  whyNoNetwork,
} from "../support/network/network_namespace.ts";

type Call = RemoteCall extends infer C
  ? C extends RemoteCall ? Omit<C, "stream"> : never
  : never;

/** What is stored of a stream. */
interface Stored {
  blocks: number[];
  /** The minipool's rows, generation and slot; -1 is the marker. */
  minipool: [generation: number, slot: number][];
}

/** A write that is lost, and the calls that are acknowledged after it. */
interface Case {
  name: string;
  type?: "media";
  before: Call[];
  lost: Call;
  /** Steps, one after the other; the calls of a step are made at once. */
  after: Call[][];
  left: Stored | undefined;
}

const events = (generation: number, count: number): Call[] =>
  Array.from(
    { length: count },
    (_, slot) => ({ kind: "event", generation, slot }),
  );
const minipool = (generation: number, events: number): Stored["minipool"] =>
  run(-1, events - 1).map((slot) => [generation, Number(slot)]);

const create: Call = { kind: "create" };
const remove: Call = { kind: "delete" };
/** Blocks 0 to 9. The last one has a snapshot, so all others may be trimmed. */
const tenBlocks: Call[] = [
  create,
  { kind: "blocks", first: 1, last: 8, snapshot: false },
  { kind: "blocks", first: 9, last: 9, snapshot: true },
];

const cases: Case[] = [
  {
    name: "deleteStream after a new creation and 100 events",
    before: [create, ...events(1, 1)],
    lost: remove,
    after: [[create], events(1, 100)],
    left: { blocks: [0], minipool: minipool(1, 100) },
  },
  {
    name: "writeEvent after a deletion and a new creation",
    before: [create],
    lost: { kind: "event", generation: 1, slot: 0 },
    after: [[remove], [create]],
    left: { blocks: [0], minipool: minipool(1, 0) },
  },
  {
    name: "writeMiniblocks after a deletion and a new creation",
    before: [create, ...events(1, 1)],
    lost: { kind: "blocks", first: 1, last: 1, snapshot: false },
    after: [[remove], [create]],
    left: { blocks: [0], minipool: minipool(1, 0) },
  },
  {
    name: "createStreamStorage after a deletion",
    before: [],
    lost: create,
    after: [[remove]],
    left: undefined,
  },
  {
    name: "trimStream after a backfill",
    before: tenBlocks,
    lost: { kind: "trim", to: 5 },
    after: [[{ kind: "backfill", first: 0, last: 4 }]],
    left: { blocks: run(0, 9).map(Number), minipool: minipool(10, 0) },
  },
  {
    name: "writePrecedingMiniblocks after a trim above it",
    before: [...tenBlocks, { kind: "trim", to: 5 }],
    lost: { kind: "backfill", first: 2, last: 4 },
    after: [[{ kind: "trim", to: 7 }]],
    left: { blocks: [7, 8, 9], minipool: minipool(10, 0) },
  },
  {
    name: "writeEphemeralMiniblock after a deletion and a new upload",
    type: "media",
    before: [{ kind: "chunk", number: 0 }],
    lost: { kind: "chunk", number: 1 },
    after: [[remove], [{ kind: "chunk", number: 0 }]],
    left: { blocks: [0], minipool: [] },
  },
];

/** How much of the network is cut, and when it heals. */
const partitions = {
  "of one connection that heals after the later writes": "connection",
  "of the whole network that heals before the retry": "network",
} as const;
type Partition = typeof partitions[keyof typeof partitions];

const schemaOf = (nth: number) => `partition_${nth}`;
const limitMs = 20_000;

/** Polls with a pause, because each poll starts a process. */
async function until(
  what: string,
  isTrue: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!await isTrue()) {
    assert.ok(performance.now() < deadline, `Expected in time: ${what}`);
    await delay(20);
  }
}

/** The network, the server on one side of it, the stores on the other. */
class Ground implements AsyncDisposable {
  readonly ids: StreamId[] = cases.map(({ type }) => newStreamId(type));
  readonly #stack = new AsyncDisposableStack();
  #network!: LossyNetwork;
  #server!: FarServer;
  #stores!: RemoteStores;

  /** The local port of each store's session for writes. */
  #ports: number[] = [];

  static async open(): Promise<Ground> {
    const ground = new Ground();
    try {
      await ground.#open();
      return ground;
    } catch (error) {
      await ground[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #open(): Promise<void> {
    this.#network = this.#stack.use(await LossyNetwork.create());
    this.#server = this.#stack.use(await FarServer.start(this.#network));
    this.#stores = this.#stack.use(
      await RemoteStores.open(this.#network.onFarSide, {
        url: this.#server.farUrl,
        schemas: cases.map((_, nth) => schemaOf(nth)),
        operationTimeoutMs: 1000,
      }),
    );
    // The first write opens the only session for writes of its store.
    const first = newStreamId();
    for (const nth of cases.keys()) {
      const calls = [{ kind: "create", stream: first }] as const;
      await this.#stores.acknowledged(schemaOf(nth), calls);
    }
    this.#ports = await this.#writePorts();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }

  /** Makes a case's steps; retries each call until it is acknowledged. */
  async acknowledged(nth: number, steps: Call[][]): Promise<void> {
    for (const step of steps) {
      await this.#stores.acknowledged(schemaOf(nth), this.#calls(nth, step));
    }
  }

  /** Loses a write of each case in the partition, and makes the later calls. */
  async lose(partition: Partition): Promise<void> {
    const ports = this.#ports;
    assert.deepEqual(
      await this.#writePorts(),
      ports,
      "Expected no new session",
    );
    // Only sessions for writes: an operation that reads first loses its write.
    await this.#network.drop(ports);
    const lost = cases.map(({ lost }, nth) =>
      this.#stores.call(schemaOf(nth), this.#calls(nth, [lost]))
    );
    await until("each write to be sent, and lost", async () => {
      const unsent = await this.#unsent();
      return ports.every((port) => unsent.has(port));
    });
    if (partition === "network") await this.#network.drop("everything");
    const failures = (await Promise.all(lost)).map(([failure]) => failure);
    if (partition === "network") await this.#network.drop([]);
    await Promise.all(cases.map(async ({ lost, after }, nth) => {
      const failure = failures[nth];
      if (failure) {
        await this.#stores.acknowledged(
          schemaOf(nth),
          this.#calls(nth, [lost]),
          { isInDoubt: failure.outcome === "unknown" },
        );
      }
      await this.acknowledged(nth, after);
    }));
    await this.#network.drop([]);
    await this.#delivered();
  }

  /** What is stored of a case's stream. */
  async stored(nth: number): Promise<Stored | undefined> {
    const id = this.ids[nth]!;
    const t = new Catalog(schemaOf(nth), 1).tablesOf(id);
    const [row] = await this.#server.query(
      `SELECT EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = '${id}') AS es,
        (SELECT coalesce(json_agg(seq_num ORDER BY seq_num), '[]')
          FROM ${t.miniblocks} WHERE stream_id = '${id}') AS blocks,
        (SELECT coalesce(json_agg(json_build_array(generation, slot_num)
            ORDER BY generation, slot_num), '[]')
          FROM ${t.minipools} WHERE stream_id = '${id}') AS minipool`,
    );
    const { es, blocks, minipool } = row as unknown as Stored & { es: boolean };
    const isThere = es || blocks.length > 0 || minipool.length > 0;
    return isThere ? { blocks, minipool } : undefined;
  }

  #calls(nth: number, calls: Call[]): RemoteCall[] {
    return calls.map((call) =>
      ({ ...call, stream: this.ids[nth]! }) as RemoteCall
    );
  }

  /** One port a store: the oldest session without the owner's lock. */
  async #writePorts(): Promise<number[]> {
    const ports: number[] = [];
    for (const nth of cases.keys()) {
      const [port] = await this.#server.portsWhere(
        `application_name = '${schemaOf(nth)}' AND NOT EXISTS (
           SELECT 1 FROM pg_locks WHERE locktype = 'advisory'
           AND pg_locks.pid = session.pid)
         ORDER BY backend_start LIMIT 1`,
      );
      assert.ok(port, "Expected a session for writes");
      ports.push(port);
    }
    return ports;
  }

  /** The ports whose sockets hold bytes that have not arrived. */
  async #unsent(): Promise<Set<number>> {
    const sockets = await this.#network.sockets();
    return new Set(
      sockets.filter(({ unsent }) => unsent > 0).map((s) => s.localPort),
    );
  }

  /** Waits until the kernel has delivered all lost bytes. */
  async #delivered(): Promise<void> {
    const ports = this.#ports;
    await until("the kernel to deliver what was lost", async () => {
      const unsent = await this.#unsent();
      return !ports.some((port) => unsent.has(port));
    });
    await until("the server to end the sessions that were lost", async () => {
      const there = await this.#server.portsWhere("true");
      return !there.some((port) => ports.includes(port));
    });
  }
}

const why = await whyNoNetwork();
const skip = why !== undefined;
const note = skip ? " (NOT RUN)" : "";

for (const [name, partition] of Object.entries(partitions)) {
  describe(`A partition ${name}`, () => {
    let ground: Ground;

    before(async () => {
      if (skip) return;
      ground = await Ground.open();
      for (const [nth, { before }] of cases.entries()) {
        await ground.acknowledged(nth, before.map((call) => [call]));
      }
      await ground.lose(partition);
    });
    after(() => ground?.[Symbol.asyncDispose]());

    for (const [nth, { name, left }] of cases.entries()) {
      it(
        `does no harm by a late copy of ${name}${note}`,
        { skip },
        async () => {
          assert.deepEqual(await ground.stored(nth), left);
        },
      );
    }
  });
}

describe("An acknowledged write", () => {
  it(
    `is kept when the network is cut under load${note}`,
    { skip },
    async () => {
      const report = await crashNetwork({
        victim: "network",
        kills: 3,
        seed: String(Date.now()),
        streams: 12,
      });
      assert.equal(report.kills, 3);
      assert.equal(report.checks.rounds, 3);
      assert.ok(report.calls.acknowledged >= 3);
    },
  );
});
